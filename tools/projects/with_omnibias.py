"""omnibias-keras: its units, which have derivatives in closed form."""

import numpy as np
from omnibias.keras import OMBU, cmbDense
from trial import Trial, keras, keras_smooth


def main() -> None:
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 1))
    unit = OMBU(num_channels=1, K=1, base="tanh", dtype="float64")
    inputs = keras.Input((1,))
    alone = keras.Model(inputs, unit(inputs))
    trial = Trial("OMBU")
    trial.compare(
        "`derivatives`, order 2, against its `analytic_derivative`",
        lambda: keras_smooth.derivatives(alone, x)[2],
        unit.analytic_derivative(keras.ops.convert_to_tensor(x), order=2),
    )
    trial.print()
    inputs = keras.Input((2,))
    hidden = cmbDense(6, dtype="float64")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    trial = Trial("cmbDense")
    trial.everything(model, rng.normal(size=(5, 2)))
    trial.print()


if __name__ == "__main__":
    main()
