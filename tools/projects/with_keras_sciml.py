"""keras-sciml: its PINN with Fourier features, its DeepONet and its Fourier operator."""

import numpy as np
from keras_sciml import models
from trial import Trial, keras


def main() -> None:
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    x = rng.uniform(-1.0, 1.0, size=(5, 2))
    pinn = models.PINN(
        hidden_layers=2, hidden_units=8, use_fourier_features=True, fourier_dim=6
    )
    pinn(x)
    trial = Trial("PINN with Fourier features")
    trial.everything(pinn, x)
    trial.print()
    operator = models.DeepONet(
        latent_dim=6, mode="pointwise", hidden_layers=1, hidden_units=8
    )
    inputs = [rng.normal(size=(5, 7)), x]
    operator(inputs)
    trial = Trial("DeepONet, pointwise, by the points")
    trial.everything(operator, inputs, 1)
    trial.print()
    fno = models.FNO1D(modes=2, width=4, depth=1, projection_dim=6)
    field = rng.normal(size=(2, 6, 1))
    fno(field)
    trial = Trial("FNO1D, by the field")
    trial.everything(fno, field)
    trial.print()


if __name__ == "__main__":
    main()
