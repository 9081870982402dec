"""Fourier transforms and complex numbers."""

from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.operations.lifting import joint, linear, run, run_primals, whole
from keras_smooth.operations.rows import add


def _of_last_axes(operation: tf.Operation, v: tf.Tensor, *others: Any) -> tf.Tensor:
    return run(operation, [v, *others])


add(
    "FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D RFFT RFFT2D RFFT3D",
    linear(_of_last_axes),
    exact=True,
)
add("Real", linear(lambda operation, v: tf.math.real(v)), exact=True)
add("Imag", linear(lambda operation, v: tf.math.imag(v)), exact=True)


def _complex(operation: tf.Operation, real: Any, imaginary: Any) -> Jet:
    exact = run_primals(operation, [real, imaginary])
    return joint(exact, (real, imaginary), lambda values: tf.complex(*values))


def _modulus(operation: tf.Operation, x: Jet) -> Jet:
    x = whole(x)
    parts = [
        x.like(part(x.primal), [None if v is None else part(v) for v in x.series])
        for part in (tf.math.real, tf.math.imag)
    ]
    squares = [jet.square(part) for part in parts]
    return jet.elementwise(jet.sqrt, squares[0] + squares[1])


add("Complex", _complex, exact=True)
add("ComplexAbs", _modulus, at_edge=0, domain=lambda operation, x: [tf.abs(x)])
