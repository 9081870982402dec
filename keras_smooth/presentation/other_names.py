"""Names that functions and arguments of other packages have in this one."""

import functools
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# The name in other packages, in lower case, and what to use here.
FUNCTIONS = {
    **dict.fromkeys(("jvp", "pushforward"), "directional(model, x, direction)"),
    **dict.fromkeys(("vjp", "pullback"), "gradient(model, x), of outputs times a vector"),
    **dict.fromkeys(("hvp", "hessp"), "hessian_vector_product(model, x, vector)"),
    **dict.fromkeys(("grad", "grads", "nabla", "value_and_grad"), "gradient(model, x)"),
    **dict.fromkeys(
        ("partial", "mixed", "diff", "derivative", "deriv", "pde", "mixed_partial"),
        'partials(model, x, ["t", "xx", "xt"], names="xt")',
    ),
    **dict.fromkeys(("jac", "jacfwd", "jacrev", "jacobians"), "jacobian(model, x)"),
    **dict.fromkeys(("hess", "hessians"), "hessian(model, x)"),
    **dict.fromkeys(("lap", "laplace", "laplacians"), "laplacian(model, x)"),
    **dict.fromkeys(("bilaplacian", "bilaplace", "biharm"), "biharmonic(model, x)"),
    **dict.fromkeys(
        ("operator", "differential_operator", "diff_operator"),
        'linear_operator(model, x, {"xx": 1.0, "yy": 1.0}, names="xy")',
    ),
    "div": "divergence(model, x)",
    **dict.fromkeys(("rot", "rotor", "vorticity"), "curl(model, x)"),
    **dict.fromkeys(
        ("convection", "convective", "material_derivative"),
        "advection(model, x, velocity)",
    ),
    **dict.fromkeys(
        ("bfgs", "l_bfgs", "minimize", "fit", "optimize"), "fit_lbfgs(model, x, y)"
    ),
    **dict.fromkeys(("dense",), "Dense"),
    **dict.fromkeys(("monitor", "derivatives_monitor"), "DerivativeMonitor(x)"),
    **dict.fromkeys(("sobolev", "sobolev_model"), "DerivativeModel(model)"),
    **dict.fromkeys(("smooth", "smoothed"), "smoothen(model)"),
}


def hint(name: str) -> str:
    """Returns a sentence for a name that does not exist here, or "" if none is known."""
    meant = FUNCTIONS.get(name.lower())
    return "" if meant is None else f" Use keras_smooth.{meant}."


def refuses(other_names: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Returns a decorator that makes a function name the argument that is meant.

    The function keeps its signature, so that editors and type checkers see what it takes.

    Args:
        other_names: For each other name, the argument that is meant, and how to use it.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if name in other_names:
                    raise TypeError(
                        f"{function.__name__} has no argument {name!r}. Use "
                        f"{other_names[name]}."
                    )
            return function(*args, **kwargs)

        return checked

    return decorate
