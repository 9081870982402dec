"""Drop-in subclasses of Keras layers that know how often they can be differentiated."""

from keras_smooth.layers.activation import Activation
from keras_smooth.layers.dense import Dense

__all__ = ["Activation", "Dense"]
