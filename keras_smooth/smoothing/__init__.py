"""smoothen: the same architecture and weights, in smooth and exact layers.

conversion.py    smoothen and output_change; the table of replacements
stand_ins.py     smooth stand-ins for activations that are made of pieces
"""

from keras_smooth.smoothing.conversion import OutputChange, output_change, smoothen

__all__ = ["OutputChange", "output_change", "smoothen"]
