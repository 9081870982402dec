"""DerivativeMonitor: the errors of y, y', y'' during fit.

monitor.py      DerivativeMonitor: when it measures, what goes into the logs and is drawn
measurement.py  what is exact and what the model has, and the errors, by metrics in float64
fits.py         the fits that it watches, one after another
quantities.py   gradient norm and Laplacian, from the derivatives that are measured
drawing.py      what its figures show: curves, slices, samples, one value over another
displays.py     TensorBoard and notebooks, while the model trains
"""

from keras_smooth.callbacks.monitor import DerivativeMonitor
