"""Layers that tools/write_layers.py writes, with the signatures of Keras. Do not edit them.

convolution.py, transposed_convolution.py, depthwise_convolution.py, separable_convolution.py,
einsum_dense.py, recurrent.py, convolutional_recurrent.py
                                                layers with an order
smooth_pooling.py, smooth_merging.py, smooth_prelu.py
                                                smooth forms
"""
