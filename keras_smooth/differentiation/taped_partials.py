"""Chosen partial derivatives by nested tapes, without all the others."""

import collections
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import tapes
from keras_smooth.differentiation.multi_indices import MultiIndex
from keras_smooth.differentiation.passes import Form
from keras_smooth.differentiation.points import Points
from keras_smooth.jet.arithmetic import total


def forms(
    model: Callable, points: Points, wanted: Sequence[Form], training: bool = False
) -> tuple:
    """Returns y and sums of partial derivatives."""
    levels = _levels({index for form in wanted for index, _ in form})

    def function(moving):
        return [tapes.call(model, points.whole(moving), training)]

    step = _Chosen(model, points, levels)
    entries = tapes.nested_tapes(function, points.moving, len(levels) - 1, step)
    known = {
        index: value
        for level, values in zip(levels, entries)
        for index, value in zip(level, values, strict=True)
    }
    return known[()], *(_form(form, known) for form in wanted)


def num_sweeps(wanted: Sequence[Form]) -> list[int]:
    """Returns for each order how many derivatives of the order before are swept back."""
    levels = _levels({index for form in wanted for index, _ in form})
    return [
        len({_parent(index, lower) for index in level}) for lower, level in pairwise(levels)
    ]


def _form(form: Form, known: dict):
    def summed(*tensors):
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
        model: Model, layer or function.
        points: Its inputs.
        levels: The derivatives of each order.
    """

    def __init__(self, model: Callable, points: Points, levels: list) -> None:
        self.model = model
        self.points = points
        self.levels = levels
        self.ends = np.cumsum([0, *points.dims])

    def __call__(self, values: list, x: list[tf.Tensor], order: int) -> Callable:
        below, level = self.levels[order - 1], self.levels[order]
        components = {
            index: [tapes.components(tensor) for tensor in keras.tree.flatten(value)]
            for index, value in zip(below, values, strict=True)
        }

        def differentiate(tape: tf.GradientTape) -> list:
            @functools.cache
            def rows(parent: MultiIndex, output: int, number: int) -> tf.Tensor:
                """Returns the derivatives of an output by one input, `(batch, m, d)`."""
                slopes = [
                    tapes.checked_gradient(
                        tapes.gradient(tape, component, x[number]),
                        self.model,
                        order,
                        x[number],
                        functools.partial(self._is_zero, parent, output, number),
                    )
                    for component in components[parent][output]
                ]
                dim = math.prod(x[number].shape[1:])
                return tf.stack([tf.reshape(row, (-1, dim)) for row in slopes], axis=1)

            def derivative(index: MultiIndex):
                parent = _parent(index, below)
                axis = next(a for a in set(index) if index.count(a) > parent.count(a))
                number = int(np.searchsorted(self.ends, axis, side="right")) - 1
                like = values[below.index(parent)]
                flat = [
                    tf.cast(
                        tf.reshape(
                            rows(parent, output, number)[..., axis - self.ends[number]],
                            (-1, *tensor.shape[1:]),
                        ),
                        tensor.dtype,
                    )
                    for output, tensor in enumerate(keras.tree.flatten(like))
                ]
                return keras.tree.pack_sequence_as(like, flat)

            return list(map(derivative, level))

        return differentiate

    def _is_zero(self, parent: MultiIndex, output: int, number: int) -> bool:
        """Returns whether the graph of a model shows that a derivative is 0."""
        inputs = np.searchsorted(self.ends, parent, side="right") - 1
        return any(
            tapes.has_no_path(self.model, self.points, output, int(place))
            for place in {number, *inputs.tolist()}
        )
