"""Fourier transforms and complex numbers."""

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import mapped
from keras_smooth.operations.lifting import add_linear, of_last_axes, whole
from keras_smooth.operations.rows import add

add_linear(
    "FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D RFFT RFFT2D RFFT3D Real Imag",
    of_last_axes,
)


def _parts(x: Jet) -> list[Jet]:
    """Returns the real and the imaginary part."""
    x = whole(x)
    return [
        mapped(x, function(x.primal), function) for function in (tf.math.real, tf.math.imag)
    ]


def _modulus(operation: tf.Operation, x: Jet) -> Jet:
    real, imaginary = map(jet.square, _parts(x))
    return jet.elementwise(jet.sqrt, real + imaginary)


def _angle(operation: tf.Operation, x: Jet) -> Jet:
    return _parts(jet.elementwise(jet.log, x))[1]


def _off_the_cut(operation: tf.Operation, x: tf.Tensor) -> list:
    """An angle jumps at the negative real numbers."""
    real, imaginary = tf.math.real(x), tf.math.imag(x)
    return [tf.where(real > 0, tf.ones_like(real), imaginary)]


add_linear("Complex", lambda operation, *parts: tf.complex(*parts), slice(None))
add("ComplexAbs", _modulus, at_edge=0, domain=lambda operation, x: [tf.abs(x)])
add("Angle", _angle, smoothness=-1, breakpoints=_off_the_cut)
