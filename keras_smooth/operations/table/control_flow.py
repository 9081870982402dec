"""Branches, loops, calls of functions, and lists of tensors, which loops keep."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations import registered
from keras_smooth.operations.lifting import run, run_primals
from keras_smooth.operations.lists import JetList
from keras_smooth.operations.paths import reached, unchanged
from keras_smooth.operations.rows import add


def _call(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """A function that is called: its operations take its place, or the rule of a user."""
    name = operation.get_attr("f").name

    def computed() -> list:
        # Some kernels, as that of a grouped convolution's gradient, are XLA's alone.
        if tf.executing_eagerly() and _must_compile(operation):
            return _compiled(bodies(name), inputs, evaluate)
        return evaluate(bodies(name), inputs)

    results = registered.applied(name, inputs, computed)
    return computed() if results is None else results


def _must_compile(operation: tf.Operation) -> bool:
    attributes = operation.node_def.attr
    return "_XlaMustCompile" in attributes and attributes["_XlaMustCompile"].b


def _compiled(body: Any, inputs: list, evaluate: Callable) -> list:
    leader = next((x for x in inputs if _moves(x)), None)
    given = [_filled(x, _moves(x), leader) for x in inputs]
    passed = [x for x in given if not isinstance(x, tf.Variable)]
    templates: list = []

    def function(*flat: tf.Tensor) -> list:
        values = iter(_packed(passed, flat))
        results = evaluate(
            body, [x if isinstance(x, tf.Variable) else next(values) for x in given]
        )
        templates[:] = [_filled(y, _moves(y), leader) for y in results]
        return [tensor for value in templates for tensor in _tensors(value)]

    flat = [tensor for value in passed for tensor in _tensors(value)]
    return _packed(
        templates, tf.function(function, autograph=False, jit_compile=True)(*flat)
    )


add("PartitionedCall StatefulPartitionedCall", program=_call)


def _conditional(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    condition, *values = inputs
    names = (operation.get_attr("then_branch").name, operation.get_attr("else_branch").name)
    branches = [bodies(name) for name in names]
    chosen = tf.cast(tf.reshape(condition, []), tf.bool)
    if tf.executing_eagerly():
        return evaluate(branches[0 if chosen else 1], values)
    return _switched(tf.where(chosen, 0, 1), branches, values, operation, evaluate)


def _case(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    index, *values = inputs
    branches = [bodies(each.name) for each in operation.get_attr("branches")]
    last = len(branches) - 1
    index = tf.where((index < 0) | (index > last), last, index)
    if tf.executing_eagerly():
        return evaluate(branches[int(index)], values)
    return _switched(index, branches, values, operation, evaluate)


def _switched(
    index: tf.Tensor,
    branches: list,
    values: list,
    operation: tf.Operation,
    evaluate: Callable,
) -> list:
    """Runs one of several branches, whose outputs are made alike."""
    moving = [
        any(column)
        for column in zip(
            *(reached(branch, list(map(_moves, values))) for branch in branches)
        )
    ]
    leader = next((x for x in values if _moves(x)), None)
    templates: list = []

    def flat(branch: Any) -> Callable:
        def function() -> list:
            results = evaluate(branch, values)
            filled = [_filled(*pair, leader) for pair in zip(results, moving)]
            templates[:] = filled
            return [tensor for value in filled for tensor in _tensors(value)]

        return function

    results = tf.switch_case(index, [flat(branch) for branch in branches])
    return _packed(templates, results if isinstance(results, (list, tuple)) else [results])


add("If StatelessIf", program=_conditional)
add("Case StatelessCase", program=_case)


def _loop(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    body = bodies(operation.get_attr("body").name)
    condition = bodies(operation.get_attr("cond").name)
    if tf.executing_eagerly():
        while bool(evaluate(condition, list(map(_point, inputs)))[0]):
            inputs = evaluate(body, inputs)
        return inputs
    kept = unchanged(body)
    inputs = _steady(body, inputs)
    leader = next((x for x in inputs if _moves(x)), None)
    changing = [x for x, stays in zip(inputs, kept) if not stays]

    def whole(flat: Any) -> list:
        values = iter(_packed(changing, flat))
        return [x if stays else next(values) for x, stays in zip(inputs, kept)]

    def goes_on(*flat: tf.Tensor) -> tf.Tensor:
        return tf.reshape(evaluate(condition, list(map(_point, whole(flat))))[0], [])

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
    moving = list(map(_moves, inputs))
    while True:
        after = [a or b for a, b in zip(moving, reached(body, moving))]
        if after == moving:
            break
        moving = after
    leader = next((x for x in inputs if _moves(x)), None)
    return [_filled(value, moves, leader) for value, moves in zip(inputs, moving)]


def _moves(value: Any) -> bool:
    return isinstance(value, Jet | JetList)


def _point(value: Any) -> Any:
    return value.primal if _moves(value) else value


def _filled(value: Any, moves: bool, leader: Any) -> Any:
    """Returns a value as a jet with all entries written out, where it has to be one."""
    if not moves:
        return value
    like = leader.like if isinstance(leader, JetList) else leader
    like = like.unframed()
    if isinstance(value, JetList):
        return value
    if not isinstance(value, Jet):
        value = _still(value, like)
        if isinstance(value, JetList):
            return value
    value = value.unframed()
    series = []
    for k in range(1, value.order + 1):
        size = like.lead(k)
        shape = tf.concat([[size], tf.shape(value.primal)], axis=0)
        entry = value.series[k - 1]
        full = (
            tf.zeros(shape, value.dtype) if entry is None else tf.broadcast_to(entry, shape)
        )
        series.append(tf.ensure_shape(full, [size, *value.shape]))
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


def _element(value: Any, k: int, like: Jet) -> tf.Tensor:
    """Returns an entry of an element of a list, written out."""
    return _filled(value, True, like).series[k]


def _as_list(handle: Any, like: Jet) -> JetList:
    return handle if isinstance(handle, JetList) else _still(handle, like)


def _set(operation: tf.Operation, handle: Any, index: Any, item: Any) -> JetList:
    like = handle.like if isinstance(handle, JetList) else item
    target = _as_list(handle, like)
    series = tuple(
        run(operation, [entry, index, _element(item, k, like)])
        for k, entry in enumerate(target.series)
    )
    return JetList(run(operation, [target.primal, index, _point(item)]), series, like)


def _pushed(operation: tf.Operation, handle: Any, item: Any) -> JetList:
    like = handle.like if isinstance(handle, JetList) else item
    target = _as_list(handle, like)
    series = tuple(
        run(operation, [entry, _element(item, k, like)])
        for k, entry in enumerate(target.series)
    )
    return JetList(run(operation, [target.primal, _point(item)]), series, like)


def _shape_in_front(shape: Any, lead: Any) -> Any:
    """Returns the shape of elements with an axis of directions; an unknown one stays so."""
    shape = tf.convert_to_tensor(shape)
    return shape if shape.shape.rank == 0 else tf.concat([[lead], shape], axis=0)


def _got(operation: tf.Operation, handle: JetList, index: Any, shape: Any) -> Jet:
    y = run(operation, [handle.primal, index, shape])
    series = []
    for k, entry in enumerate(handle.series):
        lead = handle.like.lead(k + 1)
        value = run(operation, [entry, index, _shape_in_front(shape, lead)])
        series.append(tf.ensure_shape(value, [lead, *y.shape]))
    return handle.like.like(y, series)


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


def _stack(operation: tf.Operation, handle: JetList, shape: Any) -> Jet:
    y = run(operation, [handle.primal, shape])
    series = []
    for k, entry in enumerate(handle.series):
        lead = handle.like.lead(k + 1)
        value = run(operation, [entry, _shape_in_front(shape, lead)])
        value = tf.ensure_shape(value, [y.shape[0], lead, *y.shape[1:]])
        series.append(_swapped(value))
    return handle.like.like(y, series)


def _unstacked(operation: tf.Operation, x: Jet, shape: Any) -> JetList:
    x = _filled(x, True, x)
    series = tuple(
        run(operation, [_swapped(entry), _shape_in_front(shape, x.lead(k))])
        for k, entry in enumerate(x.series, 1)
    )
    return JetList(run(operation, [x.primal, shape]), series, x)


add("TensorListSetItem", _set, exact=True)
add("TensorListPushBack", _pushed, exact=True)
add("TensorListGetItem", _got, exact=True)
add("TensorListPopBack", _popped, exact=True)
add("TensorListStack", _stack, exact=True)
add("TensorListFromTensor", _unstacked, exact=True)


def _resized(operation: tf.Operation, handle: JetList, size: Any) -> JetList:
    series = tuple(run(operation, [entry, size]) for entry in handle.series)
    return JetList(run(operation, [handle.primal, size]), series, handle.like)


add("TensorListResize", _resized, exact=True)


def _described(operation: tf.Operation, handle: JetList) -> Any:
    return run_primals(operation, [handle.primal])


add("TensorListElementShape TensorListLength", _described, exact=True)

# Python functions: of the gradient of one TensorFlow knows nothing.
add("PyFunc PyFuncStateless", smoothness=None, tapes_right_to=0)
add("EagerPyFunc", smoothness=None, tapes_right_to=1)
