"""Correct, visible and trainable derivatives for Keras on TensorFlow.

Shapes: a derivative has the shape of y, followed by the shape of a sample of x once for each
order. If a sample of x is one number, no axes are added. With y of shape `(batch, m)`:

- `derivatives`, `jacobian` and `hessian` follow this rule: y' is `(batch, m, d)` and y'' is
  `(batch, m, d, d)` for x of shape `(batch, d)`; both are `(batch, m)` for x of shape `(batch, 1)`,
  and y' is `(batch, m, atoms, 3)` for x of shape `(batch, atoms, 3)`.
- Operators that select entries of x, sum over them or use a direction have no axes of x:
  `partials`, `linear_operator`, `laplacian`, `vector_laplacian`, `biharmonic`, `directional` and
  `advection` return the shape of y.
- `gradient` and `hessian_vector_product` need one output entry per sample, and return the shape
  of x. The forces of an energy with x of shape `(batch, atoms, 3)` are `-gradient(energy, x)`, of
  the same shape.
- `divergence` sums over y and x: `(batch, 1)`, with as many axes as y. `curl` is `(batch, 3)`, in
  two dimensions `(batch, 1)`.

With several outputs, each value has their structure. With several inputs, each derivative has the
structure of the inputs in place of the tensor: `dy["out"]["in"]`, `d2y["out"]["in"]["in"]`.
"""
# ruff: noqa: E402

from typing import TYPE_CHECKING, NoReturn

from keras_smooth.checks import require_keras_on_tensorflow

# This comes before other modules import Keras, so that the error explains what is missing.
require_keras_on_tensorflow()

from keras_smooth import activations, initializers, jet, layers
from keras_smooth.auditing import Audit, audit
from keras_smooth.callbacks import DerivativeMonitor
from keras_smooth.comparison.comparing import Comparison, compare
from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.differentiation.linear_operators import (
    biharmonic,
    laplacian,
    linear_operator,
)
from keras_smooth.differentiation.operators import (
    derivatives,
    directional,
    gradient,
    hessian,
    jacobian,
)
from keras_smooth.differentiation.partials import Plan, partials, plan
from keras_smooth.differentiation.rules import register_jet_rule
from keras_smooth.differentiation.vector_calculus import (
    advection,
    curl,
    divergence,
    hessian_vector_product,
    vector_laplacian,
)
from keras_smooth.differentiation.verification import Verification
from keras_smooth.layers import Activation, Dense
from keras_smooth.lbfgs import (
    OptimizeResult,
    Resample,
    Status,
    choose_by_residual,
    fit_lbfgs,
)
from keras_smooth.models.standardization import standardized
from keras_smooth.registry import register_smoothness, smoothness
from keras_smooth.smoothing import OutputChange, output_change, smoothen

__version__ = "0.2.0"

__all__ = [
    "Activation",
    "Audit",
    "Comparison",
    "Dense",
    "DerivativeModel",
    "DerivativeMonitor",
    "OptimizeResult",
    "OutputChange",
    "Plan",
    "Resample",
    "Status",
    "Verification",
    "activations",
    "advection",
    "audit",
    "biharmonic",
    "choose_by_residual",
    "compare",
    "curl",
    "derivatives",
    "directional",
    "divergence",
    "fit_lbfgs",
    "gradient",
    "hessian",
    "hessian_vector_product",
    "initializers",
    "jacobian",
    "jet",
    "laplacian",
    "layers",
    "linear_operator",
    "register_jet_rule",
    "output_change",
    "partials",
    "plan",
    "register_smoothness",
    "smoothen",
    "smoothness",
    "standardized",
    "vector_laplacian",
]


def __dir__() -> list[str]:
    """Lists the public names, without the modules and helpers that are imported."""
    # Tools such as Sphinx look for `__all__` here.
    return [*__all__, "__all__", "__doc__", "__version__"]


# Hidden from type checkers, which would accept any name because of this function.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        """Raises an error, with the equivalent of a name of another package."""
        from keras_smooth.presentation.other_names import hint

        raise AttributeError(
            f"module 'keras_smooth' has no attribute {name!r}.{hint(name)}"
        )
