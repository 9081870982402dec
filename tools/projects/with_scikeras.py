"""SciKeras: the model of a `KerasRegressor` after its fit, as in a pipeline of scikit-learn."""

import numpy as np
from scikeras.wrappers import KerasRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trial import Trial, keras, keras_smooth


def net():
    model = keras.Sequential([keras.Input((2,))])
    model.add(keras_smooth.Dense(10, "tanh"))
    model.add(keras_smooth.Dense(1))
    model.compile("adam", "mse")
    return model


def main() -> None:
    keras.config.set_floatx("float64")
    x = np.random.default_rng(0).uniform(-1.0, 1.0, size=(30, 2))
    regressor = KerasRegressor(net, epochs=2, verbose=0, random_state=0)
    pipeline = make_pipeline(StandardScaler(), regressor)
    trial = Trial("`KerasRegressor` in a pipeline")
    trial.note(
        "`fit` of the pipeline", lambda: f"runs: {type(pipeline.fit(x, x[:, 0])).__name__}"
    )
    # If the wrapper fails with this scikit-learn, a new model is tested instead.
    model = getattr(regressor, "model_", None) or net()
    trial.everything(model, x[:5])
    trial.print()


if __name__ == "__main__":
    main()
