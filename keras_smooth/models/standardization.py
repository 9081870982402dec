"""A model that scales the inputs and outputs of a network, and so has the units of the data."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import real_array, shown
from keras_smooth.models import agreement, calls, checked_inputs, copies, graph, own_call
from keras_smooth.models.checked_inputs import flat, packed_as
from keras_smooth.models.references import layers_within
from keras_smooth.models.tracing import eager_only
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import warn

# A column that varies by less than so many units in the last place counts as constant.
_ROUNDING = 16
# The largest rounding error, relative to the deviation, without a warning: a network does not
# learn data more precisely than they are rounded.
_LARGEST_ROUNDING = 1e-3


@eager_only
def standardized(model: keras.layers.Layer, x: Any, y: Any = None) -> keras.Model:
    """Returns a model that standardizes the inputs and outputs of a network.

    The network receives `(x - mean) / deviation`. Its output is multiplied by the deviation of y,
    and the mean of y is added, for each column of the last axis. These numbers are constants of
    the new model, used in the dtype of the network or in float32. The model is saved and loaded
    as any other. Its derivatives are with respect to x, in the units of x and y. It shares its
    weights with `model`. Compile the new model before `fit` or `fit_lbfgs`. Its class is
    `keras.Model`: a `compute_loss` of the class of `model` is not part of it.

    Args:
        model: Built Keras model or layer, with one or several inputs and outputs.
        x: Its inputs, some or all of the data: an array, or a list or dict of arrays. Integers
            are not scaled if they go to an Input of integers, to an Embedding (or any layer
            without derivatives with respect to whole numbers), or to a model without Inputs.
            Padded steps, whose features all have the value of a Masking of the input, are not
            scaled either, and do not count in the mean.
        y: Targets in the structure of the outputs, whose means and deviations are used. Outputs
            whose target is None, or missing in a dict, are not scaled, for example for the
            objective of an equation whose solution is of size 1. Masks of outputs are not
            used: pass targets without padding, such as only the first steps of sequences.

    Returns:
        A `keras.Model` with the inputs of `model`.

    Raises:
        TypeError: If `model` is not a Keras layer, or x or y are not numbers.
        ValueError: If `model` is not built, is a `DerivativeModel` or cannot be a part of another
            model, or x or y do not fit it or are not finite, or a layer other than a Masking of
            the input computes a mask from x.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> net = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> net.add(keras_smooth.Dense(8, "tanh", dtype="float64"))
    >>> net.add(keras_smooth.Dense(1, dtype="float64"))
    >>> x = np.linspace(300.0, 350.0, 21)[:, None]
    >>> y = 1e5 + 20.0 * np.sin(x / 10.0)
    >>> model = keras_smooth.standardized(net, x, y)
    >>> model.compile(loss="mse")
    >>> history = keras_smooth.fit_lbfgs(model, x, y, epochs=200, jit_compile=False, verbose=0)
    >>> slope = np.asarray(keras_smooth.derivatives(model, x, 1)[1])
    >>> bool(np.abs(slope - 2.0 * np.cos(x / 10.0)).max() < 0.1)
    True
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model or layer, received {shown(model)}.")
    if not own_call.is_built(model):
        raise ValueError(
            "`model` has no weights yet. Build it with an Input or by calling it once."
        )
    if any(getattr(each, "differentiates_inputs", False) for each in layers_within(model)):
        raise ValueError(
            f"`model`: {shown(model)} returns derivatives, which would be with respect to scaled "
            "inputs. Standardize the network in it: "
            "DerivativeModel(standardized(network, x, y), order)."
        )
    arrays = checked_inputs.inputs(model, x)
    symbols = [_symbol(model, array) for array in arrays]
    uses = _uses(model, x, symbols)
    scaled = [
        _in_units_of_the_network(array.word, leaf, symbol, masking) if has_units else symbol
        for array, leaf, symbol, (has_units, masking) in zip(arrays, flat(x), symbols, uses)
    ]
    outputs = _symbolic_outputs(model, packed_as(x, scaled))
    if y is not None:
        outputs = _in_units_of_y(y, outputs)
    return keras.Model(packed_as(x, symbols), outputs)


def _uses(
    model: keras.layers.Layer, x: Any, symbols: list
) -> list[tuple[bool, keras.layers.Masking | None]]:
    """Returns for each input of a model whether it may be scaled, and the Masking that masks it.

    Indices, as for an Embedding, may not be scaled: they are integers, with respect to which
    outputs have no derivatives. This follows from a recorded call.

    Args:
        model: Built model or layer.
        x: Its inputs.
        symbols: Symbolic inputs, whose dtypes and batch size are used for the call.

    Raises:
        ValueError: If a mask depends on an input, but is not that of a Masking of this input.
    """
    leaves = flat(x)
    samples = list(map(_first_sample, leaves, symbols))
    makers = list(filter(graph.may_make_mask, layers_within(model)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(list(filter(calls.is_float, samples)))
        recorded = calls.record(model, [model, *makers], (packed_as(x, samples),))
    outputs = [call.output for call in recorded[id(model)]]
    masked = [
        (maker, argument)
        for maker in makers
        for call in recorded[id(maker)]
        for argument in [(*call.args, *call.kwargs.values())[0]]
        # A layer that only passes on masks returns None, since it receives none here.
        if maker.compute_mask(argument, None) is not None
    ]
    uses = []
    for values, sample in zip(leaves, samples):
        # Code outside of TensorFlow has no derivatives, but may use an input with units.
        has_units = calls.is_float(sample) and (
            _depends_on(tape, outputs, sample) or not _are_whole(values)
        )
        uses.append((has_units, _masking(tape, sample, masked) if has_units else None))
    return uses


def _first_sample(values: Any, symbol: keras.KerasTensor) -> tf.Tensor:
    """Returns the first sample of an input, repeated to the batch size of the model."""
    sample = tf.cast(tf.convert_to_tensor(values)[:1], symbol.dtype)
    return tf.repeat(sample, symbol.shape[0] or 1, axis=0)


def _are_whole(values: Any) -> bool:
    values = tf.cast(values, "float64")
    return bool(tf.reduce_all(values == tf.round(values)))


def _masking(
    tape: tf.GradientTape, sample: tf.Tensor, compared: list
) -> keras.layers.Masking | None:
    """Returns the Masking that computes a mask from an input, or None."""
    masking = None
    for maker, argument in compared:
        if not _depends_on(tape, argument, sample):
            continue
        is_input = np.array_equal(argument, tf.cast(sample, argument.dtype))
        if not isinstance(maker, keras.layers.Masking) or not is_input:
            raise ValueError(
                f"The layer {maker.name!r} makes a mask from numbers that scales of x would "
                "change. Have a keras.layers.Masking do so, as the first layer after the "
                "Input, or scale x by yourself."
            )
        masking = maker
    return masking


def _depends_on(tape: tf.GradientTape, values: Any, sample: tf.Tensor) -> bool:
    floats = list(filter(calls.is_float, keras.tree.flatten(values)))
    try:
        return bool(floats) and tape.gradient(floats, sample) is not None
    # If an operation has no gradient, the values may depend on the sample.
    except Exception:
        return True


def _symbol(model: keras.layers.Layer, array: checked_inputs.Input) -> keras.KerasTensor:
    """Returns a symbolic input for one of the arrays in x."""
    like = array.expected
    if like is not None:
        return keras.Input(batch_shape=like.shape, dtype=like.dtype, name=like.name)
    dtype = model.compute_dtype if array.is_float else array.tensor.dtype.name
    return keras.Input(array.tensor.shape[1:], dtype=dtype)


def _symbolic_outputs(model: keras.layers.Layer, inputs: Any) -> Any:
    try:
        return calls.without_side_effects(model, inputs)
    # The code of the model can raise any error.
    except Exception as error:
        raise ValueError(
            "`model` cannot be called on symbolic inputs, as a part of another model: "
            f"{copies.brief(error)}. Scale x and y by yourself, or write its call by keras.ops."
        ) from error


def _in_units_of_the_network(
    word: str, values: Any, symbol: keras.KerasTensor, masking: keras.layers.Masking | None
) -> keras.KerasTensor:
    """Returns (x - mean) / deviation for a symbolic input, except at padded steps."""
    mean, deviation = _mean_and_deviation(word, values, symbol, masking)
    _warn_of_rounding(word, mean, deviation, symbol.dtype)
    # The mean is subtracted first, since differences near the mean are exact.
    scaled = _rescaled(_rescaled(symbol, 1.0, -mean), 1.0 / deviation, 0.0)
    if masking is None:
        return scaled
    # Scaled data may equal the mask value, such as 0 at the mean, and is then moved off it.
    size = max(1.0, float(np.max(np.abs(masking.mask_value))))
    moved = scaled + 4.0 * agreement.EPSILON[masking.compute_dtype] * size
    is_unmasked = keras.ops.expand_dims(_is_data(masking, scaled), -1)
    is_data = keras.ops.expand_dims(_is_data(masking, symbol), -1)
    return keras.ops.where(is_data, keras.ops.where(is_unmasked, scaled, moved), symbol)


def _is_data(masking: keras.layers.Masking, x: Any) -> Any:
    """Returns the mask of x: which steps are not padding."""
    return masking.compute_mask(keras.ops.cast(x, masking.compute_dtype), None)


def _in_units_of_y(y: Any, outputs: Any) -> Any:
    """Returns symbolic outputs, scaled to the means and deviations of y."""
    if isinstance(outputs, dict) and isinstance(y, dict) and set(y) < set(outputs):
        y = {key: y.get(key) for key in outputs}
    symbols = keras.tree.flatten(outputs)
    targets = flat(y)
    if len(targets) != len(symbols):
        raise ValueError(
            f"`y` has {counted(len(targets), 'array')}, but the model has "
            f"{counted(len(symbols), 'output')}. Pass "
            "targets in the structure of the outputs."
        )
    if all(target is None for target in targets):
        raise ValueError("`y` has no targets in it. Pass y=None for outputs as they are.")
    rescaled = [
        symbol if target is None else _in_units_of_targets(target, symbol)
        for symbol, target in zip(symbols, targets)
    ]
    return keras.tree.pack_sequence_as(outputs, rescaled)


def _in_units_of_targets(values: Any, symbol: keras.KerasTensor) -> keras.KerasTensor:
    mean, deviation = _mean_and_deviation("`y`", values, symbol)
    rescaled = _rescaled(symbol, deviation, mean)
    _warn_of_rounding("`y`", mean, deviation, rescaled.dtype)
    return rescaled


def _warn_of_rounding(
    name: str, mean: np.ndarray, deviation: np.ndarray, dtype: str
) -> None:
    """Warns if rounding in a dtype is too large, relative to the deviation of the numbers."""
    lost = np.max(agreement.EPSILON[dtype] * np.abs(mean / deviation))
    if lost > _LARGEST_ROUNDING:
        warn(
            f"{name} is rounded to {dtype}, the dtype of the network, by {lost:.1g} of its "
            "deviation, since its mean is so much larger. Build the network with "
            'dtype="float64", or subtract the mean from the data.'
        )


def _mean_and_deviation(
    name: str, values: Any, symbol: keras.KerasTensor, masking: Any = None
) -> tuple:
    """Returns the mean and the standard deviation of each column, which is 1 for a constant.

    Padded steps do not count.
    """
    array = real_array(name, values).astype("float64")
    expected = symbol.shape[1:]
    is_column = array.ndim == 1 and expected in ((), (1,))
    fits = array.ndim == len(symbol.shape) and all(
        size in (None, received) for size, received in zip(expected, array.shape[1:])
    )
    if not array.size or not (is_column or fits):
        raise ValueError(
            f"{name} must have shape {(None, *expected)}, as the model has, received "
            f"{array.shape}."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, but has inf or NaN in it.")
    if masking is not None:
        array = array[np.asarray(_is_data(masking, array.astype(symbol.dtype)))]
        if not array.size:
            raise ValueError(f"{name} has padded steps only, of {masking.mask_value}.")
    columns = array.reshape(-1, (expected or (1,))[-1] or 1)
    mean = columns.mean(axis=0)
    # Scaled by the largest number, since squares of very large or small numbers are inf or 0.
    largest = np.abs(columns - mean).max(axis=0)
    rounding = _ROUNDING * np.finfo("float64").eps * np.abs(columns).max(axis=0)
    varies = largest > rounding
    unit = np.where(varies, largest, 1.0)
    deviation = unit * ((columns - mean) / unit).std(axis=0)
    return mean, np.where(varies, deviation, 1.0)


def _rescaled(symbol: keras.KerasTensor, scale: Any, offset: Any) -> keras.KerasTensor:
    """Returns `scale * symbol + offset` in float32 or float64: half precision is too coarse."""
    dtype = "float64" if symbol.dtype == "float64" else "float32"
    # The layer would round Python floats to float32.
    scale, offset = np.asarray(scale, "float64"), np.asarray(offset, "float64")
    return keras.layers.Rescaling(scale, offset, dtype=dtype)(symbol)
