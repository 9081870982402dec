"""KerasHub: an encoder, by embedded tokens, and a small backbone, by the pixels of an image."""

import keras_hub
import numpy as np
from trial import Trial, keras


def main() -> None:
    keras.config.set_floatx("float64")
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    encoder = keras_hub.layers.TransformerEncoder(6, 2, activation="gelu", dtype="float64")
    tokens = keras.Input((2, 4))
    trial = Trial("TransformerEncoder")
    trial.everything(keras.Model(tokens, encoder(tokens)), rng.normal(size=(2, 2, 4)))
    trial.print()
    vit = keras_hub.models.ViTBackbone(
        image_shape=(2, 2, 1),
        patch_size=1,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        mlp_dim=6,
        dtype="float64",
    )
    trial = Trial("ViTBackbone")
    trial.everything(vit, rng.normal(size=(2, 2, 2, 1)))
    trial.print()


if __name__ == "__main__":
    main()
