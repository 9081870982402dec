"""Branches, loops, calls of functions, and lists of tensors, which loops keep."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import written_out
from keras_smooth.operations import registered
from keras_smooth.operations.lifting import listed, primal, run, run_primals
from keras_smooth.operations.lists import JetList
from keras_smooth.operations.paths import reached, unchanged
from keras_smooth.operations.rows import add
from keras_smooth.operations.walk import bodies_of


def _call(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """A function that is called: its operations take its place, or the rule of a user."""
    (name,) = bodies_of(operation)

    def computed() -> list:
        # Some kernels, as that of a grouped convolution's gradient, are XLA's alone.
        if tf.executing_eagerly() and _must_compile(operation):
            return _compiled(bodies(name), inputs, evaluate)
        return evaluate(bodies(name), inputs)

    return registered.applied(name, inputs, computed)


def _must_compile(operation: tf.Operation) -> bool:
    attributes = operation.node_def.attr
    return "_XlaMustCompile" in attributes and attributes["_XlaMustCompile"].b


def _compiled(body: Any, inputs: list, evaluate: Callable) -> list:
    leader = _leader(inputs)
    given = [_filled(x, _moves(x), leader) for x in inputs]
    tensors_given = [x for x in given if not isinstance(x, tf.Variable)]
    templates: list = []

    def function(*flat: tf.Tensor) -> list:
        values = iter(_packed(tensors_given, flat))
        results = evaluate(
            body, [x if isinstance(x, tf.Variable) else next(values) for x in given]
        )
        templates[:] = [_filled(y, _moves(y), leader) for y in results]
        return [tensor for value in templates for tensor in _tensors(value)]

    flat = [tensor for value in tensors_given for tensor in _tensors(value)]
    return _packed(
        templates, tf.function(function, autograph=False, jit_compile=True)(*flat)
    )


add("PartitionedCall StatefulPartitionedCall", program=_call)


def _branched(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """One of several functions: the first of two if a condition holds, or that of an index."""
    choice, *values = inputs
    branches = list(map(bodies, bodies_of(operation)))
    if operation.type.endswith("If"):
        index = tf.where(tf.cast(tf.reshape(choice, []), tf.bool), 0, 1)
    else:
        last = len(branches) - 1
        index = tf.where((choice < 0) | (choice > last), last, choice)
    if tf.executing_eagerly():
        return evaluate(branches[int(index)], values)
    return _switched(index, branches, values, evaluate)


def _switched(index: tf.Tensor, branches: list, values: list, evaluate: Callable) -> list:
    """Runs one of several branches, whose outputs are made alike."""
    moves = list(map(_moves, values))
    moving = list(map(any, zip(*(reached(branch, moves) for branch in branches))))
    leader = _leader(values)
    templates: list = []

    def flat(branch: Any) -> list:
        results = evaluate(branch, values)
        templates[:] = [_filled(*pair, leader) for pair in zip(results, moving)]
        return [tensor for value in templates for tensor in _tensors(value)]

    results = tf.switch_case(
        index, [functools.partial(flat, branch) for branch in branches]
    )
    return _packed(templates, listed(results))


add("If StatelessIf Case StatelessCase", program=_branched)


def _loop(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    condition, body = map(bodies, bodies_of(operation))
    if tf.executing_eagerly():
        while bool(evaluate(condition, list(map(primal, inputs)))[0]):
            inputs = evaluate(body, inputs)
        return inputs
    kept = unchanged(body)
    inputs = _steady(body, inputs)
    leader = _leader(inputs)
    changing = [x for x, stays in zip(inputs, kept) if not stays]

    def whole(flat: Any) -> list:
        values = iter(_packed(changing, flat))
        return [x if stays else next(values) for x, stays in zip(inputs, kept)]

    def goes_on(*flat: tf.Tensor) -> tf.Tensor:
        return tf.reshape(evaluate(condition, list(map(primal, whole(flat))))[0], [])

    def step(*flat: tf.Tensor) -> list:
        results = zip(evaluate(body, whole(flat)), inputs, kept)
        filled = [
            _filled(value, _moves(like), leader)
            for value, like, stays in results
            if not stays
        ]
        return [tensor for value in filled for tensor in _tensors(value)]

    flat = [tensor for value in changing for tensor in _tensors(value)]
    most = _bound(inputs)
    return whole(tf.while_loop(goes_on, step, flat, maximum_iterations=most))


def _bound(inputs: list) -> int | None:
    """Returns the number of steps that a loop has at most, its second variable, if known.

    XLA needs it for the gradient of a loop.
    """
    if len(inputs) < 2 or not tf.is_tensor(inputs[1]) or inputs[1].shape.rank != 0:
        return None
    if not inputs[1].dtype.is_integer:
        return None
    most = tf.get_static_value(inputs[1])
    return int(most) if most is not None and most > 0 else None


add("StatelessWhile While", program=_loop)


def _steady(body: Any, inputs: list) -> list:
    """Returns the variables of a loop, as jets all that depend on x in some step."""
    before, moving = None, list(map(_moves, inputs))
    while moving != before:
        before = moving
        moving = [a or b for a, b in zip(before, reached(body, before))]
    leader = _leader(inputs)
    return [_filled(value, moves, leader) for value, moves in zip(inputs, moving)]


def _moves(value: Any) -> bool:
    return isinstance(value, Jet | JetList)


def _leader(values: list) -> Any:
    """Returns a jet, or a list of jets, along the curves of all, None without one."""
    return next(filter(_moves, values), None)


def _filled(value: Any, moves: bool, leader: Any) -> Any:
    """Returns a value as a jet with all entries written out, where it has to be one."""
    if not moves:
        return value
    like = (leader.like if isinstance(leader, JetList) else leader).unframed()
    if not _moves(value):
        value = _still(value, like)
    if isinstance(value, JetList):
        return value
    value = value.unframed()
    entries = enumerate(value.series, 1)
    series = [written_out(value, entry, like.lead(k)) for k, entry in entries]
    return value.like(value.primal, series)


def _still(value: Any, like: Jet) -> Any:
    """Returns the jet of what does not move, or the list of such jets."""
    if value.dtype != tf.variant:
        return like.like(value, [None] * like.order)
    shape, length = _shape_and_length(value)
    return JetList(
        value, tuple(_empty(shape, length, like, k) for k in range(like.order)), like
    )


def _shape_and_length(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the shape of the elements of a list, and their number.

    XLA knows neither of a list that is still empty: the operation that reserved it does. A
    list of length 0 will grow, which XLA ignores without an error: there it has to refuse.
    """
    if not tf.executing_eagerly() and value.op.type == "TensorListReserve":
        shape, length = value.op.inputs
        if tf.get_static_value(length) != 0:
            return shape, length
    shape = tf.raw_ops.TensorListElementShape(input_handle=value, shape_type=tf.int32)
    return shape, tf.raw_ops.TensorListLength(input_handle=value)


def _empty(shape: tf.Tensor, length: tf.Tensor, like: Jet, k: int) -> tf.Tensor:
    lead = like.lead(k + 1)
    static = tf.get_static_value(shape)
    known = -1 if static is None or not static.ndim else [lead, *static]
    return tf.raw_ops.TensorListReserve(
        element_shape=tf.constant(known, tf.int32),
        num_elements=length,
        element_dtype=like.dtype,
    )


def _tensors(value: Any) -> list[tf.Tensor]:
    return [value.primal, *value.series] if _moves(value) else [value]


def _packed(templates: list, tensors: Any) -> list:
    """Returns values from their tensors, in the form of templates."""
    remaining, values = list(tensors), []
    for template in templates:
        number = len(_tensors(template))
        first, *series = remaining[:number]
        remaining = remaining[number:]
        if isinstance(template, JetList):
            values.append(JetList(first, tuple(series), template.like))
        else:
            values.append(template.like(first, series) if _moves(template) else first)
    return values


def _written(operation: tf.Operation, handle: Any, *inputs: Any) -> JetList:
    """A list in which an element is put: at an index, or at the end."""
    *place, item = inputs
    like = handle.like if isinstance(handle, JetList) else item
    target = _filled(handle, True, like)
    element = _filled(item, True, like)
    pairs = zip(target.series, element.series)
    series = tuple(run(operation, [entry, *place, value]) for entry, value in pairs)
    return JetList(run(operation, [target.primal, *place, element.primal]), series, like)


def _shape_in_front(shape: Any, lead: Any) -> Any:
    """Returns the shape of elements with an axis of directions; an unknown one stays so."""
    shape = tf.convert_to_tensor(shape)
    return shape if shape.shape.rank == 0 else tf.concat([[lead], shape], axis=0)


def _read(arranged: Callable) -> Callable:
    """Returns the rule of what reads elements of a list.

    Args:
        arranged: `arranged(value, lead, shape)` has the directions of an entry in front, whose
            elements have a shape.
    """

    def rule(operation: tf.Operation, handle: JetList, *inputs: Any) -> Jet:
        *place, shape = inputs
        y = run(operation, [handle.primal, *place, shape])
        series = []
        for k, entry in enumerate(handle.series, 1):
            lead = handle.like.lead(k)
            value = run(operation, [entry, *place, _shape_in_front(shape, lead)])
            series.append(arranged(value, lead, y.shape))
        return handle.like.like(y, series)

    return rule


def _stacked(value: tf.Tensor, lead: int, shape: tf.TensorShape) -> tf.Tensor:
    return _swapped(tf.ensure_shape(value, [shape[0], lead, *shape[1:]]))


def _popped(operation: tf.Operation, handle: JetList, shape: Any) -> list:
    rest, y = run(operation, [handle.primal, shape])
    rests, series = [], []
    for k, entry in enumerate(handle.series):
        lead = handle.like.lead(k + 1)
        left, value = run(operation, [entry, _shape_in_front(shape, lead)])
        rests.append(left)
        series.append(tf.ensure_shape(value, [lead, *y.shape]))
    return [JetList(rest, tuple(rests), handle.like), handle.like.like(y, series)]


def _swapped(value: tf.Tensor) -> tf.Tensor:
    """Returns an entry with its first two axes the other way round."""
    return tf.transpose(value, [1, 0, *range(2, value.shape.rank)])


def _unstacked(operation: tf.Operation, x: Jet, shape: Any) -> JetList:
    x = _filled(x, True, x)
    series = tuple(
        run(operation, [_swapped(entry), _shape_in_front(shape, x.lead(k))])
        for k, entry in enumerate(x.series, 1)
    )
    return JetList(run(operation, [x.primal, shape]), series, x)


def _resized(operation: tf.Operation, handle: JetList, size: Any) -> JetList:
    series = tuple(run(operation, [entry, size]) for entry in handle.series)
    return JetList(run(operation, [handle.primal, size]), series, handle.like)


def _described(operation: tf.Operation, handle: JetList) -> Any:
    return run_primals(operation, [handle])


_got = _read(lambda value, lead, shape: tf.ensure_shape(value, [lead, *shape]))
add("TensorListSetItem TensorListPushBack", _written, exact=True)
add("TensorListGetItem", _got, exact=True)
add("TensorListPopBack", _popped, exact=True)
add("TensorListStack", _read(_stacked), exact=True)
add("TensorListFromTensor", _unstacked, exact=True)
add("TensorListResize", _resized, exact=True)
add("TensorListElementShape TensorListLength", _described, exact=True)

# Python functions: of the gradient of one TensorFlow knows nothing.
add("PyFunc PyFuncStateless", smoothness=None, tapes_right_to=0)
add("EagerPyFunc", smoothness=None, tapes_right_to=1)
