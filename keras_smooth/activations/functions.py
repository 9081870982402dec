"""The activation functions, each with its row of the registry."""

import math
from typing import Any

import keras
from keras import ops

from keras_smooth.activations.rows import activation_row
from keras_smooth.checks import finite_number
from keras_smooth.registry.activations import BEND_0, BEND_SOFTSIGN


def _positive(name: str, value: float) -> float:
    return finite_number(f"`{name}`", value, 0.0, above=True)


@activation_row(math.inf)
def sin(x: Any, w0: float = 1.0) -> Any:
    """Sine with angular frequency `w0`: f(x) = sin(w0 x).

    Args:
        x: Tensor of floats.
        w0: Angular frequency. SIREN uses 30 for images on [-1, 1]; 1 suits the smooth
            solutions of differential equations.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.sin(0.0))
    0.0

    References:
        Sitzmann et al., 2020, "Implicit neural representations with periodic
        activation functions", https://arxiv.org/abs/2006.09661, equation 5.
    """
    return ops.sin(w0 * ops.convert_to_tensor(x))


@activation_row(math.inf)
def snake(x: Any, a: float = 1.0) -> Any:
    """Snake, a line with oscillations: f(x) = x + sin(a x)^2 / a.

    Args:
        x: Tensor of floats.
        a: Half of the angular frequency of the oscillations, positive.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: If `a` is not positive.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.snake(0.0))
    0.0

    References:
        Liu et al., 2020, "Neural networks fail to learn periodic functions and how to
        fix it", https://arxiv.org/abs/2006.08195, equation 3.
    """
    _positive("a", a)
    x = ops.convert_to_tensor(x)
    return x + ops.square(ops.sin(a * x)) / a


@activation_row(math.inf)
def shifted_softplus(x: Any) -> Any:
    """Softplus through the origin: f(x) = log(1 + exp(x)) - log(2).

    Args:
        x: Tensor of floats.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.shifted_softplus(0.0))
    0.0

    References:
        Schuett et al., 2017, "SchNet", https://arxiv.org/abs/1706.08566, section 4.
    """
    return ops.softplus(x) - math.log(2.0)


@activation_row(math.inf)
def sharp_softplus(x: Any, sharpness: float = 1.0) -> Any:
    """Softplus with sharpness: f(x) = log(1 + exp(sharpness x)) / sharpness.

    It differs from ReLU by log(2) / sharpness at most, and its largest second derivative
    is sharpness / 4.

    Args:
        x: Tensor of floats.
        sharpness: Positive number.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: If `sharpness` is not positive.

    Example:

    >>> import keras_smooth
    >>> round(float(keras_smooth.activations.sharp_softplus(0.0, sharpness=10.0)), 4)
    0.0693

    References:
        Dugas et al., 2000, "Incorporating second-order functional knowledge for better
        option pricing", Advances in Neural Information Processing Systems 13.
    """
    _positive("sharpness", sharpness)
    return ops.softplus(sharpness * ops.convert_to_tensor(x)) / sharpness


@activation_row(
    1,
    (-1.0, 1.0),
    "has a second derivative that jumps at both breakpoints",
    kinds="LessEqual Less Square",
)
def smelu(x: Any, beta: float = 1.0) -> Any:
    """Smooth ReLU, a parabola between two lines, with a continuous first derivative.

    f(x) = 0 for x <= -beta, x for x >= beta, and (x + beta)^2 / (4 beta) between these.

    Args:
        x: Tensor of floats.
        beta: Half the width of the parabola, positive.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: If `beta` is not positive.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.smelu(0.0))
    0.25

    References:
        Shamir et al., 2020, "Smooth activations and reproducibility in deep networks",
        https://arxiv.org/abs/2010.09931, equation 6.
    """
    _positive("beta", beta)
    x = ops.convert_to_tensor(x)
    parabola = ops.square(x + beta) / (4.0 * beta)
    return ops.where(x <= -beta, ops.zeros_like(x), ops.where(x < beta, parabola, x))


@activation_row(math.inf)
def gaussian(x: Any) -> Any:
    """Gaussian bump: f(x) = exp(-x^2).

    Args:
        x: Tensor of floats.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.gaussian(0.0))
    1.0

    References:
        Ramasinghe and Lucey, 2022, "Beyond periodicity", https://arxiv.org/abs/2111.15135,
        table 1.
    """
    return ops.exp(-ops.square(x))


@activation_row(math.inf)
def centered_sigmoid(x: Any) -> Any:
    """Sigmoid through the origin with slope 1 there: f(x) = 4 (sigmoid(x) - 1/2).

    Args:
        x: Tensor of floats.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.centered_sigmoid(0.0))
    0.0

    References:
        Xu et al., 2016, "Revise saturated activation functions",
        https://arxiv.org/abs/1602.05980, equation 7.
    """
    # 4 (sigmoid(x) - 1/2) = 2 tanh(x / 2), without the cancellation near 0.
    return 2.0 * ops.tanh(0.5 * ops.convert_to_tensor(x))


@activation_row(
    1, (0.0,), BEND_SOFTSIGN, exact_of=keras.activations.softsign, kinds="Abs RealDiv"
)
def softsign(x: Any) -> Any:
    """Softsign with derivatives of all orders: f(x) = x / (1 + abs(x)).

    `keras.activations.softsign` raises LookupError for a second derivative on
    TensorFlow.

    Args:
        x: Tensor of floats.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.softsign(1.0))
    0.5

    References:
        Turian et al., 2009, "Quadratic features and deep architectures for chunking",
        Proceedings of NAACL-HLT, section 3.
    """
    x = ops.convert_to_tensor(x)
    return x / (1.0 + ops.abs(x))


@activation_row(
    1, (0.0,), BEND_0, exact_of=keras.activations.celu, kinds="Greater Expm1 SelectV2"
)
def celu(x: Any, alpha: float = 1.0) -> Any:
    """CELU with the right slope at 0: x for x > 0, else alpha (exp(x / alpha) - 1).

    With TensorFlow, the slope of `keras.activations.celu` at x = 0 is 2 instead of 1.

    Args:
        x: Tensor of floats.
        alpha: Positive number. The limit at minus infinity is -alpha.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: If `alpha` is not positive.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.celu(2.0))
    2.0

    References:
        Barron, 2017, "Continuously differentiable exponential linear units",
        https://arxiv.org/abs/1704.07483, equation 2.
    """
    _positive("alpha", alpha)
    x = ops.convert_to_tensor(x)
    # Without this, the exponential of large numbers would overflow, and the derivative of the
    # branch that is not selected would be NaN.
    negative = ops.where(x > 0, ops.zeros_like(x), x)
    return ops.where(x > 0, x, alpha * ops.expm1(negative / alpha))


@activation_row(math.inf)
def logish(x: Any) -> Any:
    """Logish, a smooth ramp with a minimum below 0: f(x) = x log(1 + sigmoid(x)).

    Args:
        x: Tensor of floats.

    Returns:
        Tensor of the shape and dtype of `x`.

    Example:

    >>> import keras_smooth
    >>> float(keras_smooth.activations.logish(0.0))
    0.0

    References:
        Zhu et al., 2021, "Logish: a new nonlinear nonmonotonic activation function for
        convolutional neural network", Neurocomputing 458, 490-499.
    """
    x = ops.convert_to_tensor(x)
    return x * ops.log1p(ops.sigmoid(x))
