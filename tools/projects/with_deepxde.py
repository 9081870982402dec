"""DeepXDE on TensorFlow: its networks, which are Keras models, compared with its derivatives."""

import os

os.environ["DDE_BACKEND"] = "tensorflow"

import deepxde  # noqa: E402
import numpy as np  # noqa: E402
from trial import Trial, keras, keras_smooth  # noqa: E402


def equation(x, y):
    """Returns the Laplacian by DeepXDE."""
    return deepxde.grad.hessian(y, x, i=0, j=0) + deepxde.grad.hessian(y, x, i=1, j=1)


def main() -> None:
    keras.config.set_floatx("float64")
    deepxde.config.set_default_float("float64")
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).uniform(-1.0, 1.0, size=(6, 2))
    net = deepxde.nn.FNN([2, 10, 10, 1], "tanh", "Glorot normal")
    square = deepxde.geometry.Rectangle([-1, -1], [1, 1])
    data = deepxde.data.PDE(square, equation, [], num_domain=20)
    model = deepxde.Model(data, net)
    model.compile("adam", lr=1e-3)
    trial = Trial("`FNN`")
    trial.compare(
        "`laplacian`, against DeepXDE's `hessian`",
        lambda: keras_smooth.laplacian(net, x),
        model.predict(x, operator=equation),
    )
    trial.everything(net, x)
    trial.print()


if __name__ == "__main__":
    main()
