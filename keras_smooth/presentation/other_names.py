"""Equivalents in this package of functions and arguments of other packages."""

import functools
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Functions of this package, and their names in other packages, in lower case.
_ROWS = {
    "directional(model, x, direction)": "jvp pushforward",
    "gradient(model, x), of outputs times a vector": "vjp pullback",
    "hessian_vector_product(model, x, vector)": "hvp hessp",
    "gradient(model, x)": "grad grads nabla value_and_grad",
    'partials(model, x, ["t", "xx", "xt"], names="xt")': (
        "partial mixed diff derivative deriv pde mixed_partial"
    ),
    "jacobian(model, x)": "jac jacfwd jacrev jacobians",
    "hessian(model, x)": "hess hessians",
    "laplacian(model, x)": "lap laplace laplacians",
    "biharmonic(model, x)": "bilaplacian bilaplace biharm",
    'linear_operator(model, x, {"xx": 1.0, "yy": 1.0}, names="xy")': (
        "operator differential_operator diff_operator"
    ),
    "divergence(model, x)": "div",
    "curl(model, x)": "rot rotor vorticity",
    "advection(model, x, velocity)": "convection convective material_derivative",
    "fit_lbfgs(model, x, y)": "bfgs l_bfgs minimize fit optimize",
    "Dense": "dense",
    "DerivativeMonitor(x)": "monitor derivatives_monitor",
    "DerivativeModel(model)": "sobolev sobolev_model",
    "smoothen(model)": "smooth smoothed",
}
FUNCTIONS = {name: use for use, names in _ROWS.items() for name in names.split()}


def hint(name: str) -> str:
    """Returns a sentence with the equivalent of a name of another package, or ""."""
    use = FUNCTIONS.get(name.lower())
    return "" if use is None else f" Use keras_smooth.{use}."


def refuses(other_names: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Returns a decorator that raises helpful errors for argument names of other packages.

    The function keeps its signature, so that editors and type checkers see its arguments.

    Args:
        other_names: For each name of another package, the equivalent argument of this function
            and its meaning.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs.keys() & other_names.keys():
                use = f"Use {other_names[name]}."
                raise TypeError(f"{function.__name__} has no argument {name!r}. {use}")
            return function(*args, **kwargs)

        return checked

    return decorate
