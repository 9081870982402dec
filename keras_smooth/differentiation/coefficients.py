"""The coefficients of a linear operator.

Numbers are used inside a forward pass. A tensor multiplies the sum of its terms afterwards.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.differentiation.multi_indices import Axes, MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points
from keras_smooth.jet.entries import total
from keras_smooth.models import checked_inputs


@dataclasses.dataclass(frozen=True)
class WeightedForm:
    """A sum of partial derivatives of one order and the tensor that multiplies it.

    Args:
        form: The sum.
        word: Its name in messages.
        factor: The tensor, None for 1.
    """

    form: Form
    word: str
    factor: tf.Tensor | None

    @property
    def order(self) -> int:
        return len(self.form[0][0])

    def times(self, value: tf.Tensor) -> tf.Tensor:
        """Returns a tensor of the shape of y times the factor."""
        if self.factor is None:
            return value
        factor = tf.cast(self.factor, value.dtype)
        rank, batch = factor.shape.rank, value.shape[:1]
        if rank == 0:
            return value * factor
        if factor.shape[:1].is_compatible_with(batch):
            if factor.shape[1:].num_elements() == 1:
                # (batch,) and (batch, 1) would broadcast to (batch, batch).
                return value * tf.reshape(factor, (-1, *[1] * (value.shape.rank - 1)))
            if factor.shape.is_compatible_with(value.shape):
                return value * factor
        raise ValueError(
            f"`operator`: the coefficient of {self.word} must be a number, one number a sample, "
            f"or of the shape of y, {tuple(value.shape)}; received {tuple(factor.shape)}."
        )


def checked_terms(
    axes: Axes, operator: Any, points: Points
) -> tuple[list[MultiIndex], list[Any]]:
    """Returns the partial derivatives of an operator, and their coefficients: floats or tensors.

    Raises:
        TypeError: If `operator` is not a dict, or a coefficient holds no real numbers.
        ValueError: If it contains no derivative, or one that does not exist.
    """
    if not isinstance(operator, Mapping):
        raise TypeError(
            "`operator` must be a dict of partial derivatives and their coefficients, as in "
            f'{{"xx": 1.0, "yy": 1.0}}; received {shown(operator)}.'
        )
    indices, coefficients = [], []
    for which, value in operator.items():
        indices.append(axes.parsed(which, "`operator`"))
        word = f"`operator`: the coefficient of {shown(which)}"
        coefficients.append(_coefficient(word, value, points))
    if not any(indices):
        raise ValueError(
            f"`operator` must have a partial derivative, received {shown(operator)}."
        )
    return indices, coefficients


def _coefficient(word: str, value: Any, points: Points) -> Any:
    """Returns a coefficient as a float, or as a tensor in the dtype of x."""
    if callable(value) and not isinstance(value, tf.Variable | keras.Variable):
        value = value(points.x)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
        if not math.isfinite(value):
            raise ValueError(f"{word} must be finite, received {shown(value)}.")
        return float(value)
    return checked_inputs.real_numbers(word, value, points.dtype)


def weighted_forms(
    axes: Axes, operator: Mapping, indices: Sequence[MultiIndex], coefficients: Sequence
) -> list[WeightedForm]:
    """Returns an operator as forms: one for each order and each coefficient tensor.

    Args:
        axes: The axes of the moving inputs.
        operator: The operator. Terms with the same object as their coefficient share a form.
        indices: The multi-index of each term over these axes.
        coefficients: The checked coefficient of each term.
    """
    forms: dict[tuple, dict[MultiIndex, float]] = {}
    factors: dict[int | None, tuple[str, tf.Tensor]] = {}
    terms = zip(operator.items(), indices, coefficients, strict=True)
    for (which, source), index, coefficient in terms:
        is_number = isinstance(coefficient, float)
        key = None if is_number else id(source)
        if not is_number:
            factors.setdefault(key, (shown(which), coefficient))
        form = forms.setdefault((len(index), key), {})
        form[index] = form.get(index, 0.0) + (coefficient if is_number else 1.0)
    weighted = []
    for (order, key), form in forms.items():
        word, factor = factors.get(key, (f"order {order}", None))
        # A term with the coefficient 0 is left out, unless all terms are 0.
        if not any(form.values()):
            form, factor = {next(iter(form)): 1.0}, tf.constant(0.0)
        form = {index: coefficient for index, coefficient in form.items() if coefficient}
        if len(form) == 1 and order:
            word = axes.word(next(iter(form)))
        weighted.append(WeightedForm(tuple(form.items()), word, factor))
    return weighted


def weighted_sum(weighted: Sequence[WeightedForm], values: Sequence) -> Any:
    """Returns the sum of the values of forms, each times its factor, in the structure of y."""

    def sum_of(*leaves: tf.Tensor) -> tf.Tensor:
        return total(each.times(leaf) for each, leaf in zip(weighted, leaves, strict=True))

    return keras.tree.map_structure(sum_of, *values)
