"""Whether x fits the inputs of a model, and targets and their weights its outputs."""

from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.lbfgs.objective.compiled_loss import has_own_loss
from keras_smooth.lbfgs.objective.exact_losses import losses_as_compiled, losses_of
from keras_smooth.models import calls, copies, graph, sample_inputs

# Losses whose targets are of another shape than the outputs.
_FREE = ("ctc",)


def outputs_of(model: keras.Model, x: Any) -> Any:
    """Returns the outputs for a few rows.

    Raises:
        ValueError: If the model cannot be called on them.
    """
    if graph.is_graph(model):
        _check_inputs(sample_inputs.of_graph(model), x)
    try:
        return calls.call_without_trace(model, x)
    except (ValueError, tf.errors.UnimplementedError) as error:
        shapes = ", ".join(str(_open(leaf.shape)) for leaf in keras.tree.flatten(x))
        raise ValueError(
            f"The model cannot be called on x of shape {shapes}: {copies.brief(error)}"
        ) from error


def _check_inputs(expected: Any, x: Any) -> None:
    """Raises an error if x does not have the number or the shapes of the inputs of a graph."""
    inputs = keras.tree.flatten(expected)
    names = [tensor.name for tensor in inputs]
    if isinstance(expected, dict) and isinstance(x, dict):
        for name in expected:
            if name not in x:
                raise ValueError(
                    f'Missing data for input "{name}": x has the keys {", ".join(x)}, the '
                    f"inputs of the model are {', '.join(expected)}."
                )
        # Keras ignores additional keys of a dict.
        x = {name: x[name] for name in expected}
    leaves = keras.tree.flatten(x)
    if len(leaves) != len(inputs):
        raise ValueError(
            f"x has {len(leaves)} array{'s' * (len(leaves) != 1)}, but the model has "
            f"{len(names)} input{'s' * (len(names) != 1)}: {', '.join(names)}. Pass one array "
            "for each."
        )
    if len(names) == 1 and isinstance(x, dict) and not isinstance(expected, dict):
        raise ValueError(
            f"x is a dict with the key {next(iter(x))!r}, but the model has one input: pass "
            "the array itself."
        )
    for leaf, tensor in zip(leaves, inputs):
        shape, wanted = tuple(leaf.shape), tuple(tensor.shape)
        has = (
            f"x has shape {_open(shape)}, but the input {tensor.name} of the model has "
            f"{wanted}: expected"
        )
        # Keras accepts shapes with or without a last axis of 1.
        if len(shape) == len(wanted) + 1 and shape[-1] == 1:
            shape = shape[:-1]
        elif len(shape) == len(wanted) - 1 and wanted[-1] == 1:
            shape = (*shape, 1)
        if len(shape) != len(wanted):
            raise ValueError(f"{has} {len(wanted)} axes, the first of them for rows.")
        for axis in range(-1, -len(shape), -1):
            if wanted[axis] not in (None, shape[axis]):
                raise ValueError(f"{has} axis {axis} of x to have value {wanted[axis]}.")


def _open(shape: Any) -> tuple:
    return (None, *tuple(shape)[1:])


def check_targets(model: keras.Model, outputs: Any, y: Any, sample_weight: Any) -> None:
    """Raises an error if targets are missing, or would be broadcast silently.

    Args:
        model: Compiled model.
        outputs: Its outputs for a few rows.
        y: Targets of these rows.
        sample_weight: Their weights.

    Raises:
        ValueError: If they do not fit the outputs.
    """
    if has_own_loss(model) or model.loss is None:
        return
    if y is None:
        raise ValueError(
            "y is None, but the model is compiled with a loss that compares outputs with "
            "targets. Pass y, or compile without a loss and use add_loss."
        )
    if isinstance(model, DerivativeModel):
        y, sample_weight = model.paired(y, outputs, sample_weight)
    compared, targets = of_losses(model.loss, outputs, y)
    losses = keras.tree.flatten(losses_as_compiled(model))
    alike = None not in losses or compared is not outputs
    if alike:
        compared, targets = in_one_structure(model, compared, targets)
    if keras.tree.is_nested(sample_weight):
        _check_structure(y, sample_weight)
    # A loss of the user may compare outputs and targets in another way.
    names = [own_name(loss) for loss in losses if loss is not None]
    if not alike or any(name in ("", *_FREE) for name in names):
        return
    for output, target in zip(keras.tree.flatten(compared), keras.tree.flatten(targets)):
        shape, without = tuple(output.shape), tuple(output.shape[:-1])
        # Keras handles these shapes without broadcasting.
        if tuple(target.shape) not in (shape, without, (*without, 1), (*shape, 1)):
            raise ValueError(
                f"The model's output has shape {(None, *output.shape[1:])}, the targets "
                f"have {(None, *target.shape[1:])}. Give them one shape; classes may be "
                "without the last axis, or with a last axis of 1."
            )
    if sample_weight is not None:
        _check_weights(model, outputs, y, sample_weight)


def of_losses(loss: Any, outputs: Any, y: Any) -> tuple[Any, Any]:
    """Returns the outputs and targets that have a loss in a dict or list of losses."""
    if all(isinstance(each, list | tuple) for each in (loss, outputs, y)):
        # Keras compares as many outputs as there are losses.
        some = len(loss) < len(outputs)
        return (outputs[: len(loss)], y[: len(loss)]) if some else (outputs, y)
    if not all(isinstance(each, dict) for each in (loss, outputs, y)):
        return outputs, y
    without = {name for name in outputs if loss.get(name) is None}
    outputs, y = ({n: each[n] for n in each if n not in without} for each in (outputs, y))
    return outputs, y


def in_one_structure(model: keras.Model, outputs: Any, y: Any) -> tuple[Any, Any]:
    """Returns outputs and targets, both as dicts if one of them is."""
    flat, targets = keras.tree.flatten(outputs), keras.tree.flatten(y)
    names = list(outputs) if isinstance(outputs, dict) else None
    names = names or getattr(model, "output_names", [model.name])
    # The keys of targets and of outputs, or None.
    keys, expected = (
        set(each) if isinstance(each, dict) else None for each in (y, outputs)
    )
    if keys == set(names) and expected is None:
        return dict(zip(names, flat)), y
    if keys is not None and not keras.tree.is_nested(outputs):
        raise ValueError(
            f"y is a dict with the keys {', '.join(map(str, y))}, but the model has one "
            "output: pass the array itself."
        )
    if keys != expected or len(flat) != len(targets) or any(t is None for t in targets):
        has = "no keys" if keys is None else f"the keys {', '.join(map(str, y))}"
        raise ValueError(
            "y and the outputs of the model have different structures: y has "
            f"{sum(t is not None for t in targets)} arrays and {has}, the model has "
            f"{len(flat)} outputs: {', '.join(map(str, names))}."
        )
    return outputs, y


def own_name(loss: Any) -> str:
    """Returns the name of a function or class of Keras in lower case, or ""."""
    if isinstance(loss, str):
        return loss.lower()
    kind = loss if hasattr(loss, "__name__") else type(loss)
    own = (getattr(kind, "__module__", None) or "").startswith("keras.")
    return kind.__name__.lower() if own else ""


def _check_weights(model: keras.Model, outputs: Any, y: Any, sample_weight: Any) -> None:
    """Raises an error if weights do not fit the losses that they multiply."""
    names = getattr(model, "output_names", [model.name])
    if isinstance(outputs, dict):
        names = sorted(outputs)
    count = len(keras.tree.flatten(outputs))

    def flat(structure: Any) -> list:
        if isinstance(structure, dict):
            structure = [structure.get(name) for name in names]
        leaves = keras.tree.flatten(structure)
        return leaves * count if len(leaves) == 1 else leaves

    losses = losses_of(model, keras.tree.flatten(outputs)[0].dtype.name)
    for weight, loss, *values in zip(*map(flat, (sample_weight, losses, outputs, y))):
        if weight is not None and loss is not None:
            _check_weight(tuple(weight.shape), loss, *values)


def _check_weight(
    shape: tuple, loss: keras.losses.Loss, output: tf.Tensor, target: tf.Tensor
) -> None:
    # Most losses are without the last axis of the outputs, some have an axis of their own.
    losses = tuple(loss.call(tf.cast(target, output.dtype), output).shape)
    if losses and losses[0] != shape[0]:
        raise ValueError(
            f"`sample_weight` has a weight for each row, but the loss {loss.name} is none of "
            f"single rows: of {shape[0]} rows it has shape {losses}. Leave out the weights, or "
            "give the loss another axis."
        )
    fits = len(shape) == len(losses) and all(
        size in (1, wanted) for size, wanted in zip(shape, losses)
    )
    if losses and not fits and shape != (*losses, 1):
        raise ValueError(
            f"`sample_weight` has shape {(None, *shape[1:])}, expected "
            f"{(None, *losses[1:])}: a weight for each row of the output, which has "
            f"shape {(None, *output.shape[1:])}."
        )


def _check_structure(y: Any, sample_weight: Any) -> None:
    structures = [keras.tree.lists_to_tuples(each) for each in (y, sample_weight)]
    try:
        keras.tree.assert_same_structure(*structures)
    except ValueError as error:
        # With a star for each array.
        of_y, of_weights = (
            str(keras.tree.map_structure(lambda _: "*", each)).replace("'*'", "*")
            for each in structures
        )
        raise ValueError(
            "`sample_weight` must be one array, or one for every target in the structure "
            f"of y: y is {of_y}, `sample_weight` is {of_weights}."
        ) from error
