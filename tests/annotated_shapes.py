"""Runs fits and derivatives with a check of the annotated shapes in each call.

The package does not need jaxtyping: its annotations are `typing.Annotated`, which is replaced
by the types of jaxtyping here while the package is imported.
"""

import json
import sys
import typing

import beartype
import jaxtyping
import keras
import numpy as np
import tensorflow as tf  # noqa: F401  before Annotated is another

MINIMIZERS = "keras_smooth.lbfgs.minimizers"
WITH_SHAPES = ("inverse_hessian", "line_search", "pairs", "updates")
CHECKED = ["keras_smooth.jet", *(f"{MINIMIZERS}.{name}" for name in WITH_SHAPES)]
# Integers count as floats, as for type checkers. The hook finds the checker by this name.
typechecker = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
sys.modules["annotated_shapes"] = sys.modules[__name__]
jaxtyping.install_import_hook(CHECKED, "annotated_shapes.typechecker")
typing.Annotated = jaxtyping.Shaped

import keras_smooth  # noqa: E402
from keras_smooth.lbfgs.minimizers import line_search  # noqa: E402

F64 = {"dtype": "float64"}
X = np.linspace(-1.0, 1.0, 15).reshape(5, 3)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(2, "tanh", **F64), keras.layers.Dense(1, **F64)]
    model = keras.Sequential([keras.Input((3,), **F64), *layers])
    model.compile(loss="mse")
    return model


def refuses_another_shape() -> bool:
    """Returns whether a wrong shape raises, so that annotations are checked at all."""
    try:
        line_search.dot(keras.ops.ones(3), keras.ops.ones(4))
    except jaxtyping.TypeCheckError:
        return True
    return False


if __name__ == "__main__":
    for method in ("lbfgs", "broyden", "bfgs"):
        keras_smooth.fit_lbfgs(
            network(), X, np.sin(X[:, :1]), method=method, num_correction_pairs=3, epochs=5,
            jit_compile=False, verbose=0,
        )  # fmt: skip
    keras_smooth.derivatives(network(), X, 3, engine="jet")
    # Weighted sums, with fewer directions than inputs.
    wide = keras.Sequential(
        [keras.Input((9,), **F64), keras.layers.Dense(2, "tanh", **F64)]
    )
    keras_smooth.laplacian(wide, np.ones((4, 9)), engine="jet")
    keras_smooth.biharmonic(wide, np.ones((4, 9)), engine="jet")
    print(json.dumps({"refuses": refuses_another_shape()}))
