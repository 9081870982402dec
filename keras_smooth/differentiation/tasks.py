"""The tasks: sets of derivatives to compute, with a function of each engine."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.differentiation import engines, tapes, taylor
from keras_smooth.differentiation.multi_indices import of_order
from keras_smooth.differentiation.passes import Form, partials, passes_for


@dataclasses.dataclass(frozen=True)
class Task:
    """A set of derivatives to compute at points.

    Args:
        entries: Names and orders of the results; the first is y.
        jet: The function `jet(propagate, points, *directions, **options)` of Taylor mode,
            where `propagate` returns the jets of a model along lines.
        tape: The function `tape(traces, points, *directions, **options)` of nested tapes.
        jets_are_faster: A function that returns whether jets are the faster engine, from the
            sizes of a sample of x and of a sample of y.
        options: Keyword arguments of `jet` and `tape`.
    """

    entries: tuple[tuple[str, int], ...]
    jet: Callable
    tape: Callable
    jets_are_faster: Callable[[int, int], bool]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def order(self) -> int:
        return max(order for _, order in self.entries)


def names(order: int) -> list[str]:
    """Returns the names of the derivatives up to an order: y, dy, d2y, d3y, ..."""
    return ["y", "dy", *(f"d{k}y" for k in range(2, order + 1))][: order + 1]


def derivatives(order: int) -> Task:
    """Returns the task of all partial derivatives up to an order."""
    faster = functools.partial(engines.jets_are_faster, order)
    functions = taylor.derivatives, tapes.derivatives
    return Task(_entries(order), *functions, faster, {"order": order})


def directional(order: int) -> Task:
    """Returns the task of y and its derivatives along one direction for each sample."""
    return Task(_entries(order), taylor.along, tapes.along, always_jets, {"order": order})


def _entries(order: int) -> tuple[tuple[str, int], ...]:
    return tuple((name, k) for k, name in enumerate(names(order)))


def along_each(vectors: tf.Tensor, order: int) -> Task:
    """Returns the task of y and its derivatives of one order along shared directions.

    Args:
        vectors: Tensor of shape `(directions, numbers of a sample)`.
        order: The order of the derivatives.
    """
    entries = (("y", 0), *((f"probe {i}", order) for i in range(vectors.shape[0])))
    options = {"vectors": vectors, "order": order}
    return Task(entries, taylor.along_each, tapes.along_each, always_jets, options)


def hessian_vector_product() -> Task:
    """Returns the task of y and the Hessian times a direction for each sample."""
    entries = (("y", 0), ("hessian_vector_product", 2))
    functions = taylor.hessian_vector_product, tapes.hessian_vector_product
    return Task(entries, *functions, lambda *_: False)


def laplacian(dim: int, slopes: bool = False) -> Task:
    """Returns the task of y, all first derivatives if requested, and the Laplacian.

    The work and memory of jets grow with the dimension d, not with d^2: the value, d first
    derivatives and the sum of the second ones are carried together. After a first layer
    of fewer than d / 2 units they grow with the number of units.

    References:
        Li et al., 2024, "A computational framework for neural network-based variational
        Monte Carlo with forward Laplacian", Nature Machine Intelligence 6; Dangel et
        al., 2025, "Collapsing Taylor mode automatic differentiation".
    """
    first = partials(of_order(dim, 1)) if slopes else ()
    sum_of_second = tuple(((axis, axis), 1.0) for axis in range(dim))
    words = [*(f"by {axis}" for axis in range(len(first))), "laplacian"]
    return forms([*first, sum_of_second], words, dim, always_jets)


def forms(
    wanted: Sequence[Form],
    words: Sequence[str],
    dim: int,
    jets_are_faster: Callable[[int, int], bool] | None = None,
) -> Task:
    """Returns the task of y and forms, which are sums of partial derivatives.

    Args:
        wanted: The forms.
        words: Their names.
        dim: Size of a sample.
        jets_are_faster: As for `Task`; None compares the number of values that jets carry
            with the reverse sweeps of tapes.
    """
    wanted = tuple(wanted)

    def cost_less(dim: int, num_outputs: int) -> bool:
        sweeps = [number * num_outputs for number in tapes.num_sweeps(wanted)]
        return engines.jets_cost_less(passes_for(dim, wanted).num_entries, sweeps)

    orders = (len(form[0][0]) for form in wanted)
    entries = (("y", 0), *zip(words, orders, strict=True))
    faster = jets_are_faster or cost_less
    return Task(entries, taylor.forms, tapes.forms, faster, {"wanted": wanted})


def always_jets(dim: int, num_outputs: int) -> bool:
    """Returns True: jets are faster for all dimensions."""
    return True
