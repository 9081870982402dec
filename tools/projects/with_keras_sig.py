"""keras_sig: signatures of paths, with two dense layers, by the points of the path."""

import numpy as np
from keras_sig import SigLayer
from trial import Trial, keras


def main() -> None:
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 2))
    hidden = keras.layers.Dense(6, "tanh")(SigLayer(3, dtype="float64")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    trial = Trial("SigLayer of depth 3 and a readout")
    trial.everything(model, np.random.default_rng(0).normal(size=(3, 4, 2)))
    trial.print()


if __name__ == "__main__":
    main()
