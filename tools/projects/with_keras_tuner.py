"""KerasTuner: the best model of a search, trained by L-BFGS in `HyperModel.fit`."""

import tempfile

import keras_tuner
import numpy as np
from trial import Trial, keras, keras_smooth


class Net(keras_tuner.HyperModel):
    """Chooses an activation by the error of y'' after L-BFGS."""

    def build(self, hp):
        name = hp.Choice("activation", ["tanh", "softplus", "gelu"])
        model = keras.Sequential([keras.Input((2,))])
        model.add(keras_smooth.Dense(hp.Int("units", 6, 12), name))
        model.add(keras_smooth.Dense(1))
        model.compile(loss="mse")
        return model

    def fit(self, hp, model, x, y, **arguments):
        history = keras_smooth.fit_lbfgs(
            model, x, y, epochs=20, verbose=0, jit_compile=False
        )
        return history.history["loss"][-1]


def main() -> None:
    keras.config.set_floatx("float64")
    x = np.random.default_rng(0).uniform(-1.0, 1.0, size=(30, 2))
    trial = Trial("`HyperModel` with `fit_lbfgs`")
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(Net(), max_trials=3, seed=0, directory=folder)
        tuner.search(x, np.sin(x[:, :1]) * x[:, 1:], verbose=0)
        model = tuner.hypermodel.build(tuner.get_best_hyperparameters()[0])
    trial.everything(model, x[:5])
    trial.print()


if __name__ == "__main__":
    main()
