"""DerivativeModel: a model whose outputs are y and its derivatives."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import choice, shown
from keras_smooth.differentiation import engines, operators
from keras_smooth.differentiation.derivative_targets import (
    by_name,
    in_shape_of,
    row_weights,
)
from keras_smooth.differentiation.points import weights_dtype
from keras_smooth.differentiation.tasks import names
from keras_smooth.models import checked_inputs

SECOND = ("hessian", "laplacian")


@keras.saving.register_keras_serializable(package="keras_smooth")
class DerivativeModel(keras.Model):
    """A model whose outputs are y and its derivatives, to be trained on any of them.

    It shares the weights of the inner model. `compile`, `fit`, `evaluate`, `predict`,
    `keras_smooth.fit_lbfgs` and `save` work as for every model. Training on derivatives
    is known as Sobolev training.

    Args:
        model: A built Keras model with one input and one output.
        order: Number of derivatives, 1 or more; up to 6 with the engine `"jet"`.
        engine: `"auto"`, `"jet"` or `"tape"`, as for `keras_smooth.derivatives`.
        second: What `"d2y"` is if a sample of x has several numbers: `"hessian"`, or
            `"laplacian"`, which needs `order=2`.
        **kwargs: Arguments of `keras.Model`, such as `name`.

    Input shape:
        That of the inner model.

    Output shape:
        A dict with the keys `"y"`, `"dy"`, `"d2y"`, ... of the shapes that
        `keras_smooth.derivatives` returns; a Laplacian has the shape of y. Losses,
        `loss_weights`, metrics, targets and sample weights are dicts with these keys, or
        lists in this order. Axes of length 1 may be left out in targets, so that those of dy
        may have the shape that `keras_smooth.gradient` returns. For an energy of positions
        of shape `(batch, atoms, 3)`, dy is minus the forces: `{"y": energies, "dy": -forces}`
        with forces of shape `(batch, atoms, 3)`.

    Raises:
        TypeError: If `model` is no Keras model or `order` is not an integer.
        ValueError: If the model is not built, is quantized or has several inputs or
            outputs, or `order`, `engine` or `second` is out of range; in training, if a
            layer mixes the samples of a batch, as BatchNormalization does then.

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

    # If x is scaled in front of it, its derivatives are with respect to the scaled x.
    differentiates_inputs = True

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
        checked_inputs.check_not_quantized(model)
        # Keras casts the inputs of a model to its dtype, which is float32 by default.
        super().__init__(**{"dtype": weights_dtype(model), **kwargs})
        self.order = engines.checked_derivatives(order, engine, least=1)
        self.engine = engine
        self.second = choice("`second`", second, SECOND)
        if second == "laplacian" and self.order != 2:
            raise ValueError(f"second='laplacian' needs order=2, received order={order}.")
        self.model = model
        # A subclassed model lacks these attributes; its tensors are counted in `call`.
        self._check_single("input", getattr(model, "inputs", None))
        self._check_single("output", getattr(model, "outputs", None))
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: bool | None = None) -> dict:
        x = keras.tree.flatten(inputs)
        self._check_single("input", x)
        options: dict[str, Any] = {"engine": self.engine, "training": bool(training)}
        if self.second == "laplacian" and math.prod(x[0].shape[1:]) > 1:
            values = operators.with_laplacian(self.model, inputs, **options)
        else:
            values = operators.derivatives(self.model, inputs, self.order, **options)
        leaves = list(map(keras.tree.flatten, values))
        self._check_single("output", leaves[0])
        # Unpack each result from its structure, such as a dict with one key.
        return {name: leaf for name, (leaf,) in zip(self._names, leaves)}

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; lists are in the order y, dy, d2y, ..."""
        names = self._names
        loss = by_name("loss", loss, names)
        if keras.tree.is_nested(loss_weights):
            loss = loss if isinstance(loss, dict) else dict.fromkeys(names, loss)
            weights = _in_order("loss_weights", loss_weights, names, loss)
            loss_weights = {name: weights.get(name, 1.0) for name in loss}
        super().compile(
            optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=by_name("metrics", metrics, names),
            weighted_metrics=by_name("weighted_metrics", weighted_metrics, names),
            **kwargs,
        )

    def compile_from_config(self, config: dict) -> None:
        """Compiles as before saving. Keras leaves this to classes with their own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        y, sample_weight = self.paired(y, y_pred, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict:
        # Metrics accept sample weights for outputs of any shape.
        y, _ = self.paired(y, y_pred)
        weights = _in_order("sample_weight", sample_weight, self._names, self.loss)
        return super().compute_metrics(x, y, y_pred, weights)

    def paired(self, y: Any, y_pred: dict, sample_weight: Any = None) -> tuple[Any, Any]:
        """Returns targets and weights by the names of the outputs, and in their shapes.

        Args:
            y: Targets, a dict, or a list or tuple in the order y, dy, d2y, ...
            y_pred: The outputs.
            sample_weight: Sample weights, one array or in the form of y, or None.

        Raises:
            ValueError: If the targets do not fit the outputs.
        """
        y = _in_order("y", y, self._names, self.loss)
        self._check_targets(y)
        if not isinstance(y, dict):
            return y, sample_weight
        y = {
            name: in_shape_of(y_pred[name], target, name)
            if tf.is_tensor(y_pred.get(name)) and target is not None
            else target
            for name, target in y.items()
        }
        if sample_weight is None:
            return y, None
        weights = _in_order("sample_weight", sample_weight, self._names, self.loss)
        if not isinstance(weights, dict):
            weights = dict.fromkeys(y_pred, weights)
        losses = self.loss if isinstance(self.loss, dict) else dict.fromkeys(y, self.loss)

        def weights_of_samples(name: str) -> Any:
            loss_weight_target = losses.get(name), weights.get(name), y.get(name)
            if any(value is None for value in loss_weight_target):
                return loss_weight_target[1]
            return row_weights(*loss_weight_target, y_pred[name])

        return y, {name: weights_of_samples(name) for name in y_pred}

    def _check_targets(self, y: Any) -> None:
        if self.loss is None or y is None:
            return
        needed = _names_with_loss(self._names, self.loss)
        received = list(y) if isinstance(y, dict) else []
        if missing := [name for name in needed if name not in received]:
            raise ValueError(
                f"Targets are needed for the outputs {', '.join(needed)}, received "
                f"{', '.join(received) or 'one array'}: pass a dict with these keys, or a list "
                f"in this order. {', '.join(missing)} can be left out of both if the losses "
                "are a dict."
            )

    def _check_single(self, word: str, tensors: Sequence | None) -> None:
        if tensors is not None and len(tensors) != 1:
            raise ValueError(
                f"DerivativeModel needs a model with one {word}, received {self.model.name!r} "
                f"with {len(tensors)}."
            )

    @property
    def _names(self) -> list[str]:
        return names(self.order)

    def export(
        self,
        filepath: Any,
        format: Any = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.export`, without the need to call the model first."""
        inputs, built = getattr(self.model, "inputs", None), self.model.get_build_config()
        shape = inputs[0].shape if inputs else (built or {}).get("input_shape")
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


def _in_order(what: str, values: Any, names: list[str], loss: Any) -> Any:
    """Returns values by name; a list has one for each output, or for each one with a loss."""
    with_loss = _names_with_loss(names, loss)
    is_list = isinstance(values, list | tuple)
    return by_name(
        what, values, with_loss if is_list and len(values) == len(with_loss) else names
    )


def _names_with_loss(names: list[str], loss: Any) -> list[str]:
    """Returns the names of the outputs that have a loss: all, unless `loss` is a dict."""
    is_dict = isinstance(loss, dict)
    return [name for name in names if not is_dict or loss.get(name) is not None]
