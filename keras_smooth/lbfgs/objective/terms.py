"""A user's objective: the sum of named terms, which are functions of a model and points."""

import inspect
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


class Terms:
    """A user's function of model and points, which returns terms of a sum.

    The function is held by a weak reference, since it may refer to a model, which would stay alive.

    Args:
        function: `function(model, x)` returns a scalar, or a dict of scalars by name.
        weights: Factors of the terms by name, 1 by default.
        variables: Variables to train besides the weights of the model.

    Attributes:
        dtypes: As in `CompiledLoss`; empty, since the dtypes are unknown before the first call.
    """

    dtypes = frozenset()
    precision = "Make the constants and variables in the objective with the dtype {dtype}."

    def __init__(self, function: Callable, weights: Any = None, variables: Sequence = ()):
        is_method = inspect.ismethod(function)
        self._function: Callable[[], Any]
        self._function = (weakref.WeakMethod if is_method else weakref.ref)(function)
        self.weights = dict(weights or {})
        self.variables = list(variables)

    @property
    def signature(self) -> list:
        """A list that is equal for equal objectives."""
        return [self._function, self.weights, *map(id, self.variables)]

    def __call__(self, model: keras.Model, data: tuple) -> tf.Tensor:
        """Returns the sum of the weighted terms of `data = (x, None, None)`."""
        terms = self.named_terms(model, data)
        unknown = sorted(self.weights.keys() - terms.keys())
        if unknown:
            raise ValueError(
                f"`loss_weights` has {', '.join(unknown)}, which is no term of the objective: it "
                f"has {', '.join(map(str, terms)) or 'none'}."
            )
        if not any(self.weights.get(name, 1.0) for name in terms):
            raise ValueError(
                "`loss_weights` are 0 for all terms of the objective, so that there is nothing to "
                "fit. Give one a weight that is not 0."
            )
        weighted = [self.weights.get(name, 1.0) * term for name, term in terms.items()]
        # The sum is as precise as the narrowest dtype.
        narrowest = min((term.dtype for term in weighted), key=lambda dtype: dtype.size)
        return tf.add_n([tf.cast(term, narrowest) for term in weighted])

    def named_terms(self, model: keras.Model, data: tuple) -> dict[str, tf.Tensor]:
        """Returns the terms by name, without their weights; a scalar is named `""`.

        Raises:
            TypeError: If the function returns something else.
            ValueError: If a term is not a scalar.
        """
        return {
            n: self.reduce_term(n, term)
            for n, term in self._returned_terms(model, data).items()
        }

    def reduce_term(self, name: str, term: Any) -> tf.Tensor:
        """Returns a term of the sum, computed from the value that the function returned."""
        must = f"{_label(name)} must be a scalar, or a dict of scalars by name"
        tensor = _float_tensor(must, term)
        if tensor.shape.rank:
            raise ValueError(
                f"{must}, but it has shape {tuple(tensor.shape)}. Take the mean, as "
                "keras.ops.mean(residual**2)."
            )
        return tensor

    def _returned_terms(self, model: keras.Model, data: tuple) -> dict[str, Any]:
        """Returns the values of the function by name, after checking the names."""
        returned = self.forward(model, data)
        terms = dict(returned) if isinstance(returned, Mapping) else {"": returned}
        if not terms:
            raise ValueError("The objective returned an empty dict, expected terms in it.")
        for name in terms:
            if not isinstance(name, str):
                raise TypeError(
                    f"Terms of the objective have strings as names, received {name!r}."
                )
            if name == "loss" or name.startswith("val_"):
                raise ValueError(
                    f"A term of the objective is called {name!r}, which the logs have for the sum "
                    "of all terms or for validation. Give it another name."
                )
        return terms

    def forward(self, model: keras.Model, data: tuple) -> Any:
        """Calls the user's function, and returns its result."""
        return self._function()(model, data[0])


class ResidualTerms(Terms):
    """A user's function that returns residuals; a term is the mean square of its residuals."""

    def reduce_term(self, name: str, term: Any) -> tf.Tensor:
        """Returns the mean square of residuals."""
        return tf.reduce_mean(tf.square(_residual_tensor(name, term)))

    def residuals(self, model: keras.Model, data: tuple) -> list[tf.Tensor]:
        """Returns the residuals of each term, times the square root of its weight.

        Raises:
            ValueError: If a weight is negative.
        """
        if min(self.weights.values(), default=0.0) < 0.0:
            raise ValueError(
                'With method="gauss_newton" `loss_weights` must be 0 or more, received '
                f"{self.weights}."
            )
        return [
            math.sqrt(self.weights.get(name, 1.0)) * _residual_tensor(name, term)
            for name, term in self._returned_terms(model, data).items()
        ]


def _label(name: str) -> str:
    return f"The term {name!r} of the objective" if name else "The objective"


def _float_tensor(must: str, term: Any) -> tf.Tensor:
    """Returns a term that an objective returned, as a tensor.

    Args:
        must: The beginning of a message: what the term must be.
        term: A number or an array.

    Raises:
        TypeError: If the term is no number or array of real floats.
    """
    if term is None or isinstance(term, (str, bytes, list, tuple, Mapping)):
        raise TypeError(f"{must}, received {term!r:.60}.")
    # A Python number as float32 or as an integer would change the dtype of the sum.
    if isinstance(term, bool | int | float):
        return tf.constant(float(term), "float64")
    tensor = tf.convert_to_tensor(term)
    if not tensor.dtype.is_floating:
        raise TypeError(
            f"{must}, real floats, received {tensor.dtype.name}. Cast integers; of complex "
            "numbers return real and imaginary parts, as two terms."
        )
    return tensor


def _residual_tensor(name: str, term: Any) -> tf.Tensor:
    """Returns residuals as a tensor with one or more axes.

    Raises:
        TypeError: If they are no array of real floats.
        ValueError: If they are a scalar, or empty.
    """
    must = f'{_label(name)} must be an array of residuals with method="gauss_newton"'
    residual = _float_tensor(must, term)
    # A mean of squares, which would be squared again, is a scalar.
    if not residual.shape.rank:
        raise ValueError(
            f"{must}, which squares them, but it is a scalar. Return the residual itself in place "
            "of keras.ops.mean(residual**2); a residual that is a single number as an array of "
            "one, number[None]."
        )
    if 0 in residual.shape:
        raise ValueError(
            f"{must}, but it is empty, of shape {tuple(residual.shape)}. Leave it out, or look "
            "for a mask or a slice that selects nothing."
        )
    return residual
