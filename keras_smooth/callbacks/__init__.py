"""`DerivativeMonitor`, which measures the errors of y, y', y'' during a fit.

monitor.py      `DerivativeMonitor`: when to measure, the logs, the history and the figures
measurement.py  values of the model, exact values, and their errors by metrics in float64
fits.py         the fits that a monitor watches, one after another
quantities.py   gradient norm and Laplacian, which are computed from the derivatives
drawing.py      the panels of figures: curves, slices, samples, model over exact values
displays.py     displays during training: TensorBoard and notebooks
"""

from keras_smooth.callbacks.monitor import DerivativeMonitor
