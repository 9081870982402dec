"""Writes the models of this folder: run it with keras_smooth 0.1.0 and no other.

    python write.py FOLDER

Each model has random weights, so that none is 0, and is stored beside its inputs and
outputs. `fit` is a checkpoint of `fit_lbfgs` after 5 epochs, and what 5 more epochs led to.
"""

import pathlib
import shutil
import sys
import zipfile

import keras
import numpy as np

import keras_smooth
from keras_smooth import activations, initializers, layers

OWN_ACTIVATIONS = (
    "sin", "snake", "shifted_softplus", "sharp_softplus", "smelu", "gaussian",
    "centered_sigmoid", "softsign", "celu",
)  # fmt: skip


def branches(shape, *parts):
    """Returns a model that hands its input to each part and joins what comes out."""
    x = keras.Input(shape)
    flat = [keras.layers.Flatten()(part(x)) for part in parts]
    return keras.Model(x, keras.layers.Concatenate()(flat))


def dense():
    """Dense and Activation with each activation, by name and with parameters."""
    return branches(
        (3,),
        *(layers.Dense(2, name, order=1) for name in OWN_ACTIVATIONS),
        *(layers.Activation(name, order=1) for name in OWN_ACTIVATIONS),
        layers.Dense(2, "tanh", kernel_regularizer="l2", bias_constraint="max_norm"),
        layers.Dense(2, "relu", order=0, lora_rank=1),
        layers.Dense(2, activations.partial("sin", w0=30.0)),
        layers.Activation(activations.partial("elu", alpha=0.5), order=0),
        layers.Dense(2, "tanh", kernel_initializer=initializers.GainScaling("gelu", 1)),
        layers.Dense(
            2,
            kernel_initializer=initializers.GainScaling(
                activations.partial("sharp_softplus", sharpness=4.0), seed=2
            ),
        ),
        layers.EinsumDense("ab,bc->ac", 2, "snake", "c"),
    )


def convolutions_1d():
    return branches(
        (5, 2),
        layers.Conv1D(2, 3, activation="snake"),
        layers.Conv1DTranspose(2, 3, activation="gaussian"),
        layers.DepthwiseConv1D(2, activation="sin"),
        layers.SeparableConv1D(2, 2, activation="tanh"),
        layers.SimpleRNN(2, "snake"),
        layers.GRU(2, "snake", "centered_sigmoid"),
        layers.LSTM(2, recurrent_activation="gaussian", return_sequences=True),
        layers.SmoothMaxPooling1D(2, sharpness=5.0),
        layers.SmoothGlobalMaxPooling1D(),
    )


def convolutions_2d():
    return branches(
        (4, 4, 2),
        layers.Conv2D(2, 3, activation="snake"),
        layers.Conv2DTranspose(2, 2, activation="gaussian"),
        layers.DepthwiseConv2D(2, activation="sin"),
        layers.SeparableConv2D(2, 2, activation="tanh"),
        layers.ConvLSTM1D(2, 2, activation="snake"),
        layers.SmoothMaxPooling2D((2, 1), padding="same"),
        layers.SmoothGlobalMaxPooling2D(keepdims=True),
        layers.UpSampling2D(2, interpolation="bicubic"),
        layers.Resizing(3, 5, interpolation="lanczos3"),
    )


def convolutions_3d():
    return branches(
        (3, 3, 3, 2),
        layers.Conv3D(2, 2, activation="snake"),
        layers.Conv3DTranspose(1, 2, activation="gaussian"),
        layers.ConvLSTM2D(1, 2, activation="snake"),
        layers.SmoothMaxPooling3D(),
        layers.SmoothGlobalMaxPooling3D(),
    )


def convolutions_4d():
    return branches((2, 3, 3, 3, 1), layers.ConvLSTM3D(1, 2, activation="snake"))


def normalizations():
    return branches(
        (4, 6),
        layers.BatchNormalization(),
        layers.BatchNormalization(1, scale=False, center=False),
        layers.LayerNormalization([1, 2]),
        layers.GroupNormalization(3),
        layers.UnitNormalization(),
    )


def merging():
    x, z = keras.Input((4,)), keras.Input((4,))
    y = [
        layers.SmoothMaximum()([x, z]),
        layers.SmoothMinimum(sharpness=3.0)([x, z]),
        layers.SmoothPReLU(alpha_initializer="ones", shared_axes=[1])(x),
    ]
    return keras.Model([x, z], keras.layers.Concatenate()(y))


def smoothened():
    """What `smoothen` makes of each activation and layer that it replaces."""
    names = (
        "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh", "soft_shrink",
        "sparse_sigmoid", "elu", "celu", "selu", "softsign", "hard_silu", "sparse_plus",
    )  # fmt: skip
    rough = branches(
        (4,),
        *(keras.layers.Dense(2, name) for name in names),
        keras.layers.ReLU(6.0, 0.1),
        keras.layers.LeakyReLU(0.3),
        keras.layers.ELU(0.5),
        keras.layers.PReLU(),
        keras.Sequential([keras.layers.Reshape((2, 2)), keras.layers.MaxPooling1D(2)]),
        keras.layers.LayerNormalization(),
    )
    return keras_smooth.smoothen(rough, sharpness=8.0)


def derivative_model():
    inner = keras.Sequential([keras.Input((2,)), layers.Dense(4, "snake"), layers.Dense(1)])
    model = keras_smooth.DerivativeModel(inner, order=2, second="laplacian")
    model.compile("adam", loss={"y": "mse", "d2y": "mse"})
    return model


def compiled():
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="float64"),
            layers.Dense(4, "tanh", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile("adam", loss="mse")
    return model


MODELS = (
    dense, convolutions_1d, convolutions_2d, convolutions_3d, convolutions_4d,
    normalizations, merging, smoothened, derivative_model, compiled,
)  # fmt: skip


def write_model(make, folder, rng):
    model = make()
    # Positive ones: variances are among them.
    model.set_weights([rng.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
    tensors = getattr(model, "model", model).inputs
    xs = [rng.normal(size=(3, *x.shape[1:])).astype(x.dtype) for x in tensors]
    ys = keras.tree.flatten(model(xs if len(xs) > 1 else xs[0]))
    model.save(folder / f"{make.__name__}.keras")
    compress(folder / f"{make.__name__}.keras")
    arrays = {f"x{i}": x for i, x in enumerate(xs)} | {f"y{i}": y for i, y in enumerate(ys)}
    np.savez(folder / f"{make.__name__}.npz", **arrays)


def compress(path):
    """Packs a saved model again, as it was: empty weights take most of the space."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def write_fit(folder, rng):
    model = compiled()
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    start = model.get_weights()
    x = rng.normal(size=(20, 2))
    y = np.sin(x[:, :1]) * x[:, 1:]
    directory = folder / "fit"
    shutil.rmtree(directory, ignore_errors=True)
    keras_smooth.fit_lbfgs(model, x, y, epochs=5, checkpoint=directory, verbose=0)
    five = model.get_weights()
    more = folder / "more"
    shutil.copytree(directory, more)
    history = keras_smooth.fit_lbfgs(model, x, y, epochs=10, checkpoint=more, verbose=0)
    shutil.rmtree(more)
    weights = {"start": start, "five": five, "ten": model.get_weights()}
    arrays = {f"{k}_{i}": w for k, ws in weights.items() for i, w in enumerate(ws)}
    np.savez(folder / "fit.npz", x=x, y=y, loss=history.history["loss"], **arrays)


def main(folder):
    if keras_smooth.__version__ != "0.1.0":
        raise SystemExit(f"This is keras_smooth {keras_smooth.__version__}.")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for make in MODELS:
        write_model(make, folder, rng)
    write_fit(folder, rng)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
