"""Branches, loops, calls of functions, and the lists of tensors that loops use."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import full_entry, primal
from keras_smooth.operations import registered
from keras_smooth.operations.lifting import as_list, first_jet, run, run_primals
from keras_smooth.operations.paths import dependent_outputs, unchanged_variables
from keras_smooth.operations.rows import add, is_differentiable
from keras_smooth.operations.table.arithmetic import sum_of_all
from keras_smooth.operations.walk import State, Walk, body_names, initial_states


class JetList(Jet):
    """The jet of a list of tensors: each entry is a list.

    Args:
        primal: The list at the point.
        series: A list for each order.
        element: Any jet of a tensor along the same curves.
    """

    def __init__(self, primal: Any, series: Sequence, element: Jet) -> None:
        super().__init__(primal, series, element.collapsed, weights=element.weights)
        self.element = element

    @property
    def directions(self) -> int:
        """The number of directions."""
        return self.element.directions

    def like(self, primal: Any, series: Sequence) -> "JetList":
        """Returns another list along the same curves."""
        return JetList(primal, series, self.element)


def _run_call(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """Runs a called function, by its operations or by a registered rule."""
    (name,) = body_names(operation)

    def computed() -> list:
        # Some kernels exist only in XLA, such as that of the gradient of a grouped convolution.
        attributes = operation.node_def.attr
        if tf.executing_eagerly() and attributes["_XlaMustCompile"].b:
            return _run_compiled(bodies(name), inputs, evaluate)
        return evaluate(bodies(name), inputs)

    return registered.apply_by_rule(name, inputs, computed)


def _run_compiled(body: Any, inputs: list, evaluate: Callable) -> list:
    """Evaluates a body in a function compiled by XLA, whose inputs and outputs are tensors."""
    leader = first_jet(inputs)
    args = [_full_jet(x, _is_jet(x), leader) for x in inputs]

    def function(tensors: list) -> list:
        values = iter(_as_jets(tensors, leader))
        results = evaluate(
            body, [x if isinstance(x, tf.Variable) else next(values) for x in args]
        )
        return _as_tensors(_full_jet(y, _is_jet(y), leader) for y in results)

    tensors = _as_tensors(x for x in args if not isinstance(x, tf.Variable))
    compiled = tf.function(function, autograph=False, jit_compile=True)
    return _as_jets(compiled(tensors), leader)


add("PartitionedCall StatefulPartitionedCall", control_flow=_run_call)


def _run_branch(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """Runs one of several branches, chosen by a condition or by an index."""
    choice, *values = inputs
    branches = list(map(bodies, body_names(operation)))
    if operation.type.endswith("If"):
        index = tf.where(tf.cast(tf.reshape(choice, []), tf.bool), 0, 1)
    else:
        last = len(branches) - 1
        index = tf.where((choice < 0) | (choice > last), last, choice)
    if tf.executing_eagerly():
        return evaluate(branches[int(index)], values)
    # In a graph all branches have to return the same structure: jets if one branch returns jets.
    moves = list(map(_is_jet, values))
    moving = list(map(any, zip(*(dependent_outputs(branch, moves) for branch in branches))))
    leader = first_jet(values)

    def run(branch: Any) -> list:
        pairs = zip(evaluate(branch, values), moving)
        return _as_tensors(_full_jet(*pair, leader) for pair in pairs)

    results = tf.switch_case(index, [functools.partial(run, branch) for branch in branches])
    return _as_jets(results, leader)


add("If StatelessIf Case StatelessCase", control_flow=_run_branch)


def _run_loop(
    operation: tf.Operation, inputs: list, bodies: Callable, evaluate: Callable
) -> list:
    """Runs a loop. In a graph, variables that its body returns unchanged are captured instead."""
    condition, body = map(bodies, body_names(operation))
    if tf.executing_eagerly():
        while bool(evaluate(condition, list(map(primal, inputs)))[0]):
            inputs = evaluate(body, inputs)
        return inputs
    unchanged = unchanged_variables(body)
    inputs = _steady_variables(body, inputs)
    leader = first_jet(inputs)

    def variables(tensors: Iterable) -> list:
        values = iter(_as_jets(tensors, leader))
        return [x if stays else next(values) for x, stays in zip(inputs, unchanged)]

    def continues(*tensors: Any) -> tf.Tensor:
        (result,) = evaluate(condition, list(map(primal, variables(tensors))))
        return tf.reshape(result, [])

    def step(*tensors: Any) -> list:
        results = zip(evaluate(body, variables(tensors)), inputs, unchanged)
        return _as_tensors(
            _full_jet(value, _is_jet(like), leader)
            for value, like, stays in results
            if not stays
        )

    changing = _as_tensors(x for x, stays in zip(inputs, unchanged) if not stays)
    most = _max_steps(inputs)
    return variables(tf.while_loop(continues, step, changing, maximum_iterations=most))


def _max_steps(inputs: list) -> int | None:
    """Returns the largest number of steps of a loop, its second variable, or None if unknown.

    XLA needs this number for the gradient of a loop.
    """
    if len(inputs) < 2 or not tf.is_tensor(inputs[1]) or inputs[1].shape.rank != 0:
        return None
    if not inputs[1].dtype.is_integer:
        return None
    most = tf.get_static_value(inputs[1])
    return int(most) if most is not None and most > 0 else None


add("StatelessWhile While", control_flow=_run_loop)


def _steady_variables(body: Any, inputs: list) -> list:
    """Returns the variables of a loop, as jets if they depend on x after any number of steps."""
    states = Walk().steady_states(body, initial_states(map(_is_jet, inputs)))
    leader = first_jet(inputs)
    return [_full_jet(x, state != State.HELD, leader) for x, state in zip(inputs, states)]


def _is_jet(value: Any) -> bool:
    return isinstance(value, Jet)


def _element(leader: Jet) -> Jet:
    """Returns a jet of a tensor along the curves of a jet, which may be that of a list."""
    return (leader.element if isinstance(leader, JetList) else leader).unframed()


def _full_jet(value: Any, moves: bool, leader: Any) -> Any:
    """Returns a value that moves as a jet whose entries are tensors of full shape, none None."""
    if not moves:
        return value
    if not _is_jet(value):
        value = _constant_jet(value, _element(leader))
    if isinstance(value, JetList):
        return value
    value = value.unframed()
    entries = enumerate(value.series, 1)
    series = [full_entry(value, entry, leader.lead(k)) for k, entry in entries]
    return value.like(value.primal, series)


def _constant_jet(value: Any, like: Jet) -> Any:
    """Returns the jet of a tensor or list that does not move, along the curves of `like`."""
    if value.dtype != tf.variant:
        return like.like(value, [None] * like.order)
    shape, length = _shape_and_length(value)
    static = tf.get_static_value(shape)
    is_known = static is not None and static.ndim
    leads = map(like.lead, range(1, like.order + 1))
    shapes = ([lead, *static] if is_known else -1 for lead in leads)
    series = [
        tf.raw_ops.TensorListReserve(
            element_shape=tf.constant(each, tf.int32),
            num_elements=length,
            element_dtype=like.dtype,
        )
        for each in shapes
    ]
    return JetList(value, series, like)


def _shape_and_length(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the shape of the elements of a list, and their number.

    XLA knows neither for a list without elements, but they are the inputs of the operation that
    reserved the list. If the reserved length is 0, the list will grow, and XLA would compile it
    but ignore added elements. For such a list, asking for the shape is an error in XLA, as needed.
    """
    if not tf.executing_eagerly() and value.op.type == "TensorListReserve":
        shape, length = value.op.inputs
        if tf.get_static_value(length) != 0:
            return shape, length
    shape = tf.raw_ops.TensorListElementShape(input_handle=value, shape_type=tf.int32)
    return shape, tf.raw_ops.TensorListLength(input_handle=value)


def _as_tensors(values: Iterable) -> list:
    """Returns tensors and jets as tensors and tuples of the entries of jets."""
    return [tuple(value.entries) if _is_jet(value) else value for value in values]


def _as_jets(values: Iterable, leader: Any) -> list:
    """Returns what `_as_tensors` has converted, with jets along the curves of `leader`."""
    return [_jet(*x, leader=leader) if isinstance(x, tuple) else x for x in values]


def _jet(y: tf.Tensor, *series: tf.Tensor, leader: Jet) -> Jet:
    """Returns a jet of a tensor or of a list of tensors, along the curves of another jet."""
    element = _element(leader)
    return JetList(y, series, element) if y.dtype == tf.variant else element.like(y, series)


def _with_shape(value: tf.Tensor, lead: int, shape: tf.TensorShape) -> tf.Tensor:
    return tf.ensure_shape(value, [lead, *shape])


def _list_rule(
    has_shape: bool = False, before: Callable | None = None, after: Callable = _with_shape
) -> Callable:
    """Returns the rule of an operation on a list of tensors: it is applied to each entry.

    Args:
        has_shape: Whether the last input is the shape of the elements, to which an axis of
            directions is added in front.
        before: `before(entry)` converts an entry to the first input.
        after: `after(value, lead, shape)` converts an output, if a tensor, to an entry.
            `lead` is the number of directions, and `shape` the shape of the primal.
    """

    def rule(operation: tf.Operation, *inputs: Any) -> list:
        leader = first_jet(inputs)
        jets = [_full_jet(x, is_differentiable(x.dtype), leader) for x in inputs]
        results = [as_list(run_primals(operation, jets))]
        for k in range(1, leader.order + 1):
            entries = [x.series[k - 1] if _is_jet(x) else x for x in jets]
            entries[0] = before(entries[0]) if before else entries[0]
            if has_shape:
                entries[-1] = _shape_in_front(entries[-1], leader.lead(k))
            results.append(as_list(run(operation, entries)))
        return [_shaped_jet(*each, leader=leader, after=after) for each in zip(*results)]

    return rule


def _shaped_jet(y: tf.Tensor, *series: tf.Tensor, leader: Jet, after: Callable) -> Jet:
    """Returns a jet, from the results for the primal and for each entry; see `_list_rule`."""
    if y.dtype != tf.variant:
        pairs = ((value, leader.lead(k)) for k, value in enumerate(series, 1))
        series = tuple(after(*pair, y.shape) for pair in pairs)
    return _jet(y, *series, leader=leader)


def _shape_in_front(shape: Any, lead: int) -> Any:
    """Returns the shape of elements with an axis of directions. An unknown shape stays unknown."""
    shape = tf.convert_to_tensor(shape)
    return shape if shape.shape.rank == 0 else tf.concat([[lead], shape], axis=0)


def _stacked(value: tf.Tensor, lead: int, shape: tf.TensorShape) -> tf.Tensor:
    return _swapped(tf.ensure_shape(value, [shape[0], lead, *shape[1:]]))


def _swapped(value: tf.Tensor) -> tf.Tensor:
    """Returns a tensor with its first two axes swapped."""
    return tf.transpose(value, [1, 0, *range(2, value.shape.rank)])


def _sum_or_list(operation: tf.Operation, *xs: Any) -> Any:
    """The rule of AddN, which adds lists of tensors in the gradient of a loop."""
    rule = _list_rule() if xs[0].dtype == tf.variant else sum_of_all
    return rule(operation, *xs)


add("AddN", _sum_or_list)
add("TensorListPushBack TensorListResize TensorListSetItem", _list_rule(), exact=True)
add("TensorListGetItem TensorListPopBack", _list_rule(has_shape=True), exact=True)
add("TensorListStack", _list_rule(has_shape=True, after=_stacked), exact=True)
add("TensorListFromTensor", _list_rule(has_shape=True, before=_swapped), exact=True)

# Functions in Python. TensorFlow has a gradient only of EagerPyFunc.
add("PyFunc PyFuncStateless", smoothness=None, tapes_right_to=0)
add("EagerPyFunc", smoothness=None, tapes_right_to=1)
