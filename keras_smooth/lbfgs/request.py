"""The request of a fit: the validated arguments of `fit_lbfgs`."""

import dataclasses
import functools
import math
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_smooth import checks
from keras_smooth.checks import boolean, choice, finite_number, path, shown, whole_number
from keras_smooth.lbfgs.data import data_reader
from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.minimizers import MINIMIZERS, check_method
from keras_smooth.lbfgs.objective.terms import ResidualTerms, Terms
from keras_smooth.lbfgs.objective.variables import Variable, dtype_of, is_among, name_of
from keras_smooth.lbfgs.resample import Resample

# Arguments about rows of data, which cannot be used with an objective.
_ROW_ARGUMENTS = ("y", "sample_weight", "class_weight", "batch_size")


def _checked_by(check: Callable, *arguments: Any) -> Any:
    """Returns a dataclass field whose value is checked, unless it is None and may be None."""
    return dataclasses.field(metadata={"check": check, "arguments": arguments})


def _check_numbers(name: str, value: Any, key: str, least: float = -math.inf) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a dict with a number for each {key}, received {shown(value)}."
        )
    for label, number in value.items():
        if key == "class" and not isinstance(label, int | np.integer):
            raise TypeError(f"The classes in {name} must be integers, received {label!r}.")
        finite_number(f"{name[:-1]}[{label!r}]`", number, least)


def _check_variables(name: str, value: Any) -> None:
    is_list = isinstance(value, list | tuple)
    if not is_list or not all(isinstance(variable, Variable) for variable in value):
        raise TypeError(
            f"{name} must be a list of keras.Variable or tf.Variable, received {shown(value)}."
        )
    for i, variable in enumerate(value):
        if not variable.trainable:
            raise ValueError(
                f"{name_of(variable)} of {name} is not trainable. Leave it out, or create it with "
                "trainable=True."
            )
        if is_among(variable, value[:i]):
            raise ValueError(f"{name_of(variable)} is in {name} twice. Leave one out.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `fit_lbfgs`, which its docstring describes.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range, or arguments contradict each other.
    """

    model: keras.layers.Layer
    x: Any
    y: Any
    objective: Callable | None = _checked_by(checks.function, "model", "x")
    loss_weights: Mapping[str, float] | None = _checked_by(_check_numbers, "term")
    variables: Sequence[Variable] = _checked_by(_check_variables)
    resample: Resample | None
    sample_weight: Any
    class_weight: Mapping[int, float] | None = _checked_by(_check_numbers, "class", 0)
    batch_size: int | None = _checked_by(whole_number, 1)
    epochs: int = _checked_by(whole_number, 1)
    initial_epoch: int = _checked_by(whole_number, 0)
    validation_data: Any
    validation_split: float = _checked_by(finite_number, 0)
    method: str
    num_correction_pairs: int | None = _checked_by(whole_number, 1)
    dtype: str | None = _checked_by(choice, ["float64"])
    tolerance: float = _checked_by(finite_number, 0)
    target: float | None = _checked_by(finite_number, -math.inf)
    relative: bool = _checked_by(boolean)
    max_seconds: float | None = _checked_by(finite_number, 0)
    max_restarts: int = _checked_by(whole_number, 0)
    steps_per_execution: int | None = _checked_by(whole_number, 1)
    callbacks: list | None
    verbose: str | int
    jit_compile: bool = _checked_by(boolean)
    checkpoint: str | os.PathLike | None = _checked_by(path)
    throw: bool = _checked_by(boolean)

    def __post_init__(self) -> None:
        check_method(self.method)
        callbacks = () if self.callbacks is None else self.callbacks
        for callback in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
            if not isinstance(callback, keras.callbacks.Callback):
                raise TypeError(
                    "`callbacks` must be a list of keras.callbacks.Callback, received "
                    f"{shown(callback)}."
                )
        if not isinstance(self.verbose, str | int) or self.verbose not in ("auto", 0, 1, 2):
            raise ValueError(
                f'`verbose` must be "auto", 0, 1 or 2, received {shown(self.verbose)}.'
            )
        for field in dataclasses.fields(self):
            value, metadata = getattr(self, field.name), field.metadata
            optional = type(None) in typing.get_args(field.type)
            if metadata and not (value is None and optional):
                metadata["check"](f"`{field.name}`", value, *metadata["arguments"])
        if self.validation_split >= 1:
            raise ValueError(
                f"`validation_split` must be below 1, received {self.validation_split!r}."
            )
        if self.initial_epoch >= self.epochs:
            raise ValueError(
                f"`initial_epoch` must be below `epochs`, received {self.initial_epoch!r} and "
                f"{self.epochs!r}."
            )
        if not isinstance(self.resample, Resample | None):
            raise TypeError(
                "`resample` must be a keras_smooth.Resample(draw, every=...), received "
                f"{shown(self.resample)}."
            )
        if self.objective is None and self.resample is not None:
            raise ValueError(
                "`resample` needs an `objective`, which is None: the targets of new rows are not "
                "known. Write the loss as an objective, which receives the points."
            )
        if self.objective is None and (self.loss_weights is not None or self.variables):
            raise ValueError(
                "`loss_weights` and `variables` go with `objective`, which is None. Give the "
                "loss_weights of a compiled model to compile, and make the variables weights of "
                "the model by add_weight."
            )

    @functools.cached_property
    def terms(self) -> Terms | None:
        """The user's objective, or None for the loss of the model."""
        if self.objective is None:
            return None
        kind = ResidualTerms if MINIMIZERS[self.method].NEEDS_RESIDUALS else Terms
        return kind(self.objective, self.loss_weights, self.variables)

    @property
    def trained(self) -> list[Variable]:
        """The variables that the fit trains: weights of the model, and `variables`."""
        others = self.terms.variables if self.terms else ()
        return [*self.model.trainable_variables, *others]

    @property
    def compute_dtype(self) -> str:
        """The dtype in which the fit computes."""
        return self.dtype or dtype_of(self.trained[0])

    @property
    def num_iterations(self) -> int:
        """The largest number of iterations."""
        return self.epochs - self.initial_epoch

    @property
    def chunk(self) -> int:
        """The number of iterations between two calls of the callbacks."""
        return self.steps_per_execution or math.ceil(self.num_iterations / 100)

    def read(self) -> tuple[TrainingData, TrainingData | None]:
        """Returns the data of the fit, and the validation data or None.

        Raises:
            ValueError: If arguments contradict each other, or as in `read_data`.
            TypeError: As in `read_data`.
        """
        strings = data_reader.accepts_strings(self.model)
        options = data_reader.ReadOptions(self.compute_dtype, self.batch_size, strings)
        validation = self.validation_data
        if self.terms is None:
            rows = self.x, self.y, self.sample_weight
            data = data_reader.read_data(*rows, options, self.class_weight)
            if validation is not None:
                held_out = data_reader.read_validation(validation, options)
                return data, held_out.with_ranks_of(data)
            if self.validation_split:
                return data.split(self.validation_split)
            return data, None
        row_arguments = [name for name in _ROW_ARGUMENTS if getattr(self, name) is not None]
        row_arguments += ["validation_split"] * bool(self.validation_split)
        if row_arguments:
            raise ValueError(
                f"{' and '.join(f'`{name}`' for name in row_arguments)} cannot be used with `objective`, "
                "which takes all of x as it is: put what it needs into x, as {'points': ..., "
                "'values': ...}."
            )
        points = data_reader.read_points(self.x, options)
        if validation is not None:
            validation = data_reader.read_points(validation, options, "validation_data")
        return points, validation
