"""DerivativeModel: a model that also puts out its own derivatives."""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import choice, shown
from keras_smooth.differentiation import engines, moving_inputs, operators
from keras_smooth.differentiation.evaluation import names
from keras_smooth.models import checked_inputs

SECOND = ("hessian", "laplacian")


@keras.saving.register_keras_serializable(package="keras_smooth")
class DerivativeModel(keras.Model):
    """A model that puts out y and its derivatives, to be trained on any of them.

    It shares the weights of the inner model. `compile`, `fit`, `evaluate`, `predict`,
    `keras_smooth.fit_lbfgs` and `save` work as for every model: this is Sobolev
    training.

    Args:
        model: A built Keras model with one input and one output.
        order: Number of derivatives, 1 or more; up to 6 with the engine `"jet"`.
        engine: `"auto"`, `"jet"` or `"tape"`, as for `keras_smooth.derivatives`. With
            `"jet"` layers such as Dropout run in inference mode while it is trained;
            `"auto"` then takes tapes where a layer has such a mode.
        second: What `"d2y"` is where a sample of x has several numbers: `"hessian"` or
            `"laplacian"`, which allows no order above 2.
        **kwargs: Arguments of `keras.Model`, such as `name`.

    Input shape:
        That of the inner model.

    Output shape:
        A dict with the keys `"y"`, `"dy"`, `"d2y"`, ... of the shapes that
        `keras_smooth.derivatives` returns; a Laplacian has the shape of y.

    Raises:
        TypeError: If `model` is no Keras model or `order` is not an integer.
        ValueError: If the model is not built or has several inputs or outputs, or
            `order`, `engine` or `second` is out of range.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> inner = keras.Sequential([keras.Input((1,)), keras_smooth.Dense(1, "tanh")])
    >>> model = keras_smooth.DerivativeModel(inner, order=1)
    >>> model.compile(loss={"y": "mse", "dy": "mse"}, loss_weights={"y": 1.0, "dy": 0.1})
    >>> x = np.linspace(-1.0, 1.0, 11)[:, None]
    >>> history = model.fit(x, {"y": np.sin(x), "dy": np.cos(x)}, verbose=0)
    >>> sorted(model.predict(x, verbose=0))
    ['dy', 'y']

    References:
        Czarnecki et al., 2017, "Sobolev training for neural networks",
        https://arxiv.org/abs/1706.04859.
    """

    def __init__(
        self,
        model: keras.Model,
        order: int = 2,
        *,
        engine: str = "auto",
        second: str = "hessian",
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a Keras model, received {shown(model)}.")
        checked_inputs.check_callable(model)
        # Keras casts what enters a model to its dtype, which is float32 unless said.
        super().__init__(**{"dtype": moving_inputs.weights_dtype(model), **kwargs})
        engines.checked_engine(engine)
        self.order = engines.checked_derivatives(order, engine, least=1)
        self.engine = engine
        self.second = _checked_second(second, self.order)
        self.model = model
        _check_ends(model)
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: bool | None = None) -> dict:
        if (number := len(keras.tree.flatten(inputs))) > 1:
            raise ValueError(_one("input", self.model, number))
        if self.second == "laplacian" and math.prod(inputs.shape[1:]) > 1:
            values = operators.with_laplacian(self.model, inputs, engine=self.engine)
        else:
            training = bool(training) and self.engine != "jet"
            values = operators.derivatives(
                self.model, inputs, self.order, engine=self.engine, training=training
            )
        if keras.tree.is_nested(values[0]):
            number = len(keras.tree.flatten(values[0]))
            raise ValueError(_one("output", self.model, number))
        return dict(zip(names(self.order), values))

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict:
        # Called once a step is traced, before any is taken. Not compute_loss: a loss of its
        # own would take the compiled one out of fit_lbfgs' hands, which checks by itself.
        _check_targets(y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def export(
        self,
        filepath: Any,
        format: Any = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.export`, without a call that has to come before it."""
        shape = _input_shape(self.model)
        if input_signature is None and shape is not None:
            input_signature = [
                keras.InputSpec(shape=(None, *shape[1:]), dtype=self.input_dtype)
            ]
        super().export(filepath, format, verbose, input_signature, **kwargs)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "order": self.order,
            "engine": self.engine,
            "second": self.second,
        }

    @classmethod
    def from_config(cls, config: dict) -> "DerivativeModel":
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**{**config, "model": model})


def _checked_second(second: Any, order: int) -> str:
    second = choice("`second`", second, SECOND)
    if second == "laplacian" and order != 2:
        raise ValueError(f"second='laplacian' needs order=2, received order={order}.")
    return second


def _check_ends(model: keras.Model) -> None:
    # A subclassed model has none to look at: its ends are counted when it is called.
    for ends, word in (("inputs", "input"), ("outputs", "output")):
        tensors = getattr(model, ends, None)
        if tensors is not None and len(tensors) != 1:
            raise ValueError(_one(word, model, len(tensors)))


def _one(word: str, model: keras.Model, number: int) -> str:
    return (
        f"DerivativeModel needs a model with one {word}, received {model.name!r} with "
        f"{number}."
    )


def _input_shape(model: keras.Model) -> tuple[int | None, ...] | None:
    """Returns the shape that a model was built for, None where it does not say."""
    inputs = getattr(model, "inputs", None)
    if inputs:
        return inputs[0].shape
    return (model.get_build_config() or {}).get("input_shape")


def _check_targets(targets: Any, outputs: dict) -> None:
    """Raises where Keras would broadcast targets against outputs without a word."""
    if not isinstance(targets, dict):
        targets = dict(zip(outputs, keras.tree.flatten(targets)))
    for name in targets.keys() & outputs.keys():
        target, output = targets[name], outputs[name]
        if target is None or _fits(target.shape, output.shape):
            continue
        raise ValueError(
            f"The targets of {name!r} have shape {target.shape}, but the output has shape "
            f"{output.shape}, as keras_smooth.derivatives returns it. Reshape the targets to "
            "that. (Where Keras does not know a shape any more, since it got targets of "
            "several shapes, compile the model again.)"
        )


def _fits(target: Any, output: Any) -> bool:
    """Returns whether shapes are equal, but for a last axis of 1 that Keras adds or drops."""
    if tf.TensorShape(target).rank is None:
        return False
    short, long = sorted((tuple(target[1:]), tuple(output[1:])), key=len)
    return short == long or short == long[:-1] and long[-1] == 1
