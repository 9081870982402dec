"""Chosen partial derivatives by nested tapes, without all the others."""

import collections
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation.lost import Ways
from keras_smooth.differentiation.multi_indices import MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.sweeps import components, gradient, nested_tapes
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
    """Returns for each order how many derivatives of the order before are swept back."""
    levels = _levels({index for form in wanted for index, _ in form})
    return [
        len({_parent(index, lower) for index in level}) for lower, level in pairwise(levels)
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


def _parents(index: MultiIndex) -> list[MultiIndex]:
    """Returns a derivative without one of its axes, in all ways."""
    return sorted({index[:i] + index[i + 1 :] for i in range(len(index))})


def _parent(index: MultiIndex, lower: list[MultiIndex]) -> MultiIndex:
    """Returns the derivative of the order before from which one is made."""
    return next(each for each in _parents(index) if each in lower)


class _Chosen:
    """A step of `nested_tapes`: from the chosen derivatives of one order those of the next.

    Args:
        levels: The derivatives of each order.
        dims: How many numbers a sample of each input has.
        ways: From the inputs to the outputs.
    """

    def __init__(self, levels: list, dims: list[int], ways: Ways) -> None:
        self.levels = levels
        self.dims = dims
        self.ends = np.cumsum([0, *dims])
        self.ways = ways

    def __call__(self, values: list, x: list[tf.Tensor], order: int) -> Callable:
        below, level = self.levels[order - 1], self.levels[order]
        split = {
            index: list(map(components, keras.tree.flatten(value)))
            for index, value in zip(below, values, strict=True)
        }

        def differentiate(tape: tf.GradientTape) -> list:
            @functools.cache
            def rows(parent: MultiIndex, output: int, number: int) -> tf.Tensor:
                """Returns the derivatives of an output by one input, `(batch, m, d)`."""
                inputs = [number, *map(self._input, parent)]
                slopes = [
                    gradient(tape, column, x[number]) for column in split[parent][output]
                ]
                rows = [
                    self.ways.checked(slope, order, x[number], output, inputs)
                    for slope in slopes
                ]
                flat = [tf.reshape(row, (-1, self.dims[number])) for row in rows]
                return tf.stack(flat, axis=1)

            def derivative(index: MultiIndex) -> Any:
                parent = _parent(index, below)
                axis = next(a for a in set(index) if index.count(a) > parent.count(a))
                number = self._input(axis)
                like = values[below.index(parent)]

                def column(output: int, tensor: tf.Tensor) -> tf.Tensor:
                    slope = rows(parent, output, number)[..., axis - self.ends[number]]
                    shape = (-1, *tensor.shape[1:])
                    return tf.cast(tf.reshape(slope, shape), tensor.dtype)

                flat = [column(*each) for each in enumerate(keras.tree.flatten(like))]
                return keras.tree.pack_sequence_as(like, flat)

            return list(map(derivative, level))

        return differentiate

    def _input(self, axis: int) -> int:
        """Returns the place of the input that a number is of."""
        return int(np.searchsorted(self.ends, axis, side="right")) - 1
