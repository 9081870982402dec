"""`DerivativeMonitor`, which computes the errors of y, y', y'' during a fit.

monitor.py      `DerivativeMonitor`: epochs of measurements, logs, history and figures
measurement.py  values of the model, exact values, and their errors by metrics in float64
fits.py         the fits that a monitor watches, one after another
drawing.py      the panels of figures: curves, slices, samples, values over exact ones
displays.py     displays during training: TensorBoard and notebooks
"""

from keras_smooth.callbacks.monitor import DerivativeMonitor
