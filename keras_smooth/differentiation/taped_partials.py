"""Selected partial derivatives by nested tapes."""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation.lost import Ways
from keras_smooth.differentiation.multi_indices import MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.sweeps import components, nested_tapes, slopes
from keras_smooth.differentiation.traces import Traces
from keras_smooth.jet.entries import total


def forms(traces: Traces, points: Points, *, wanted: Sequence[Form]) -> tuple:
    """Returns y and sums of partial derivatives."""

    def function(moving: list[tf.Tensor]) -> Any:
        return traces.called(points.whole(moving))

    indices = {index for form in wanted for index, _ in form}
    known = chosen(function, points.moving, indices, Ways(traces, points))
    return known[()], *(_form(form, known) for form in wanted)


def chosen(
    function: Callable, x: list[tf.Tensor], indices: Iterable[MultiIndex], ways: Ways
) -> dict:
    """Returns the value of a function and chosen partial derivatives, by their multi-indices.

    Args:
        function: Of x, a list of tensors.
        x: Where.
        indices: Of the numbers of all samples of x together.
        ways: From x to the outputs.
    """
    levels = _levels(indices)
    step = _Chosen(levels, [math.prod(each.shape[1:]) for each in x], ways)
    entries = nested_tapes(lambda x: [function(x)], x, len(levels) - 1, step)
    return {
        index: value
        for level, values in zip(levels, entries)
        for index, value in zip(level, values, strict=True)
    }


def num_sweeps(wanted: Sequence[Form]) -> list[int]:
    """Returns for each order the number of reverse sweeps."""
    levels = _levels({index for form in wanted for index, _ in form})
    return [
        len({_parent(index, lower)[0] for index in level})
        for lower, level in pairwise(levels)
    ]


def _form(form: Form, known: dict) -> Any:
    def summed(*tensors: Any) -> Any:
        return total(
            tensor if factor == 1.0 else tensor * tf.constant(factor, tensor.dtype)
            for tensor, (_, factor) in zip(tensors, form)
        )

    return keras.tree.map_structure(summed, *(known[index] for index, _ in form))


def _levels(indices: Iterable[MultiIndex]) -> list[list[MultiIndex]]:
    """Returns the derivatives to compute by their order, each from one of the order before.

    A sweep back gives all derivatives of one of the order before, so that as few of these as
    can be are used: such as are wanted themselves, then those that serve most.
    """
    by_order: list[set[MultiIndex]] = [{()}]
    for index in indices:
        by_order += [set() for _ in range(len(by_order), len(index) + 1)]
        by_order[len(index)].add(index)
    for level, lower in zip(by_order[:1:-1], by_order[-2:0:-1]):
        serves = collections.Counter(each for index in level for each in _parents(index))
        for index in sorted(level):
            parents = _parents(index)
            if lower.isdisjoint(parents):
                lower.add(max(parents, key=lambda each: (serves[each], each)))
    return [sorted(level) for level in by_order]


def _parents(index: MultiIndex) -> dict[MultiIndex, int]:
    """Returns all derivatives with one axis less, and which axis that is."""
    places = range(len(index))
    return dict(sorted((index[:i] + index[i + 1 :], index[i]) for i in places))


def _parent(index: MultiIndex, lower: list[MultiIndex]) -> tuple[MultiIndex, int]:
    """Returns the derivative of the previous order from which one is computed, and by what."""
    return next(pair for pair in _parents(index).items() if pair[0] in lower)


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """A step of `nested_tapes`: from the chosen derivatives of one order those of the next.

    Args:
        levels: The derivatives of each order.
        dims: How many numbers a sample of each input has.
        ways: From the inputs to the outputs.
    """

    levels: list[list[MultiIndex]]
    dims: list[int]
    ways: Ways

    def __call__(self, values: list, x: list[tf.Tensor], order: int) -> Callable:
        below, level = self.levels[order - 1], self.levels[order]
        outputs = dict(zip(below, values, strict=True))
        split = {
            index: list(map(components, keras.tree.flatten(value)))
            for index, value in outputs.items()
        }
        places = [(n, place) for n, dim in enumerate(self.dims) for place in range(dim)]

        def differentiate(tape: tf.GradientTape) -> list:
            @functools.cache
            def rows(parent: MultiIndex, output: int, number: int) -> tf.Tensor:
                """Returns the derivatives of an output by one input, `(batch, m, d)`."""
                columns = split[parent][output]
                inputs = [number, *(places[axis][0] for axis in parent)]
                rows = slopes(self.ways, tape, columns, x[number], order, output, inputs)
                return tf.reshape(rows, (-1, len(columns), self.dims[number]))

            def derivative(index: MultiIndex) -> Any:
                parent, axis = _parent(index, below)
                number, place = places[axis]
                leaves = keras.tree.flatten(outputs[parent])
                flat = [
                    tf.cast(
                        tf.reshape(
                            rows(parent, output, number)[..., place], (-1, *y.shape[1:])
                        ),
                        y.dtype,
                    )
                    for output, y in enumerate(leaves)
                ]
                return keras.tree.pack_sequence_as(outputs[parent], flat)

            return list(map(derivative, level))

        return differentiate
