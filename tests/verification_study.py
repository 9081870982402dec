"""verify=True on random functions, half of them with a wrong derivative.

Run as a script: python tests/verification_study.py [number of functions] [seed]
prints, by dtype, how many functions were drawn, how many wrong derivatives passed, how many
right ones were refused, and for how many y has not enough digits to decide.
"""

import collections
import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import keras_smooth

# The dtype of the points; "only float32" is a function that raises for float64.
KINDS = {"float64": 0.45, "float32": 0.35, "only float32": 0.2}
# A derivative is wrong if its relative error is at least WRONG. It counts as 0 if it is less
# than ZERO times the largest of all samples.
WRONG, ZERO = 0.01, 1e-12


@dataclasses.dataclass(frozen=True)
class RandomFunction:
    """A random function, and the same function with right derivatives."""

    function: Callable
    right: Callable
    x: np.ndarray
    order: int
    kind: str
    fault: str

    def is_wrong(self) -> bool:
        """Returns whether a derivative of some sample and output is off by 1 % or more."""
        if not self.fault:
            return False
        x = self.x.astype("float32" if self.kind == "only float32" else "float64")
        values = keras_smooth.derivatives(self.function, x, self.order, engine="tape")
        x = self.x.astype("float64")
        exact = keras_smooth.derivatives(self.right, x, self.order, engine="tape")
        return any(map(_is_wrong, values[1:], exact[1:]))

    def outcome(self) -> str:
        """Returns "verified", "refused" or "not enough digits"."""
        try:
            keras_smooth.derivatives(
                self.function, self.x, self.order, engine="tape", verify=True
            )
        except ValueError as error:
            text = str(error)
            assert "could not be verified" in text, text
            only = "not enough digits" in text and "differs" not in text
            return (
                "not enough digits" if only and "cannot be told" not in text else "refused"
            )
        return "verified"


def _is_wrong(values: tf.Tensor, exact: tf.Tensor) -> bool:
    values, exact = (np.asarray(tf.cast(value, "float64")) for value in (values, exact))
    shape = (*exact.shape[:2], -1)
    size = np.abs(exact.reshape(shape)).max(axis=2)
    error = np.abs(values - exact).reshape(shape).max(axis=2)
    return bool(np.any((error >= WRONG * size) & (error > ZERO * size.max(axis=0))))


def polynomial(rng, dim):
    w, c = rng.normal(size=dim), rng.normal(size=rng.integers(2, 6))
    return lambda x: _horner(c, _project(x, w))


def trigonometric(rng, dim):
    w, b = rng.normal(size=dim) * 10.0 ** rng.uniform(-0.5, 0.8), rng.uniform(-3, 3)
    return lambda x: tf.sin(_project(x, w) + tf.cast(b, x.dtype))


def exponential(rng, dim):
    w = rng.normal(size=dim)
    w *= rng.uniform(0.3, 6.0) / np.abs(w).sum()
    return lambda x: tf.exp(_project(x, w))


def network(rng, dim):
    sizes = (dim, 8, 8)
    weights = [rng.normal(size=s) / np.sqrt(s[0]) for s in zip(sizes, sizes[1:])]
    last = rng.normal(size=8)

    def function(x):
        for w in weights:
            x = tf.tanh(tf.matmul(x, tf.constant(w, x.dtype)) + tf.cast(0.1, x.dtype))
        return _project(x, last)

    return function


def rational(rng, dim):
    w, v, c = rng.normal(size=dim), rng.normal(size=dim), rng.normal(size=3)
    return lambda x: _horner(c, _project(x, w)) / (1.0 + _project(x, v) ** 2)


def bump(rng, dim):
    center, width = rng.uniform(-1, 1, dim), rng.uniform(0.3, 1.5)
    return lambda x: tf.exp(-tf.reduce_sum(((x - center) / width) ** 2, 1, keepdims=True))


TERMS = (polynomial, trigonometric, exponential, network, rational, bump)


def _project(x, w):
    return tf.matmul(x, tf.constant(w[:, None], x.dtype))


def _horner(coefficients, x):
    y = tf.zeros_like(x)
    for c in coefficients:
        y = y * x + tf.cast(c, x.dtype)
    return y


def sum_of_terms(rng, dim):
    """Returns a random sum of terms."""
    terms = [TERMS[i](rng, dim) for i in rng.integers(0, len(TERMS), rng.integers(1, 3))]
    factors = 10.0 ** rng.uniform(-1, 1, len(terms))

    def function(x):
        # Where a derivative is 0, tapes still need a path from x to it.
        zero = 0.0 * tf.reduce_sum(x**4, axis=1, keepdims=True)
        parts = [tf.cast(a, x.dtype) * term(x) for a, term in zip(factors, terms)]
        return tf.add_n([zero, *parts])

    return function


def scaled_everywhere(rng, f, x):
    """Multiplies all derivatives by a factor, for all samples."""
    share = _share(rng)
    return lambda x: f(x) + tf.cast(share, x.dtype) * _value_zero_slope_one(f(x))


def scaled_at_one_sample(rng, f, x):
    """Multiplies all derivatives of one sample by a factor."""
    share, sample = _share(rng), x[rng.integers(len(x))]

    def function(x):
        is_sample = tf.reduce_all(tf.abs(x - sample) < 1e-6, axis=1, keepdims=True)
        return f(x) + tf.cast(share, x.dtype) * tf.cast(
            is_sample, x.dtype
        ) * _value_zero_slope_one(f(x))

    return function


def without_one_term(rng, f, x):
    """Leaves out the derivatives of one term."""
    g = sum_of_terms(rng, x.shape[1])
    return (lambda x: f(x) + tf.stop_gradient(g(x))), (lambda x: f(x) + g(x))


def one_factor_constant(rng, f, x):
    """Treats one factor of a product as constant."""
    g = sum_of_terms(rng, x.shape[1])
    return (lambda x: f(x) * tf.stop_gradient(g(x))), (lambda x: f(x) * g(x))


def wrong_custom_gradient(rng, f, x):
    """Declares a custom gradient that has another factor."""
    factor = 1.0 + _share(rng)

    @tf.custom_gradient
    def with_wrong_gradient(y):
        return tf.identity(y), lambda upstream: tf.cast(factor, upstream.dtype) * upstream

    return lambda x: with_wrong_gradient(f(x))


def wrong_curvature(rng, f, x):
    """Makes y'' wrong, and leaves y' right."""
    share = _share(rng)
    return lambda x: f(x) + tf.cast(share, x.dtype) * _value_zero_slope_one(f(x)) ** 2


def _share(rng):
    return rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-2, 0)


def _value_zero_slope_one(y):
    return y - tf.stop_gradient(y)


FAULTS = (
    scaled_everywhere,
    scaled_at_one_sample,
    without_one_term,
    one_factor_constant,
    wrong_custom_gradient,
    wrong_curvature,
)


def random_function(rng: np.random.Generator) -> RandomFunction:
    """Returns a random function of one to three inputs with one to three outputs, and points."""
    dim, outputs = rng.choice([1, 2, 3], 2, p=[0.5, 0.3, 0.2])
    order = rng.choice([1, 2, 3], p=[0.42, 0.5, 0.08])
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    dtype = kind.split()[-1]
    x = rng.uniform(-2, 2, (rng.integers(1, 9), dim)).astype(dtype)
    pairs = [[f, f] for f in (sum_of_terms(rng, dim) for _ in range(outputs))]
    fault = rng.choice(FAULTS) if rng.uniform() < 0.5 else None
    if fault is not None:
        output = rng.integers(outputs)
        faulty = fault(rng, pairs[output][0], x)
        pairs[output] = (
            list(faulty) if isinstance(faulty, tuple) else [faulty, pairs[output][0]]
        )
    offsets = np.where(
        rng.uniform(size=outputs) < 0.6, 10.0 ** rng.uniform(0, 9, outputs), 0
    )
    functions, right = zip(*pairs)

    def function(x):
        parts = [tf.cast(c, x.dtype) + f(x) for c, f in zip(offsets, functions)]
        y = tf.concat(parts, axis=1)
        return y * tf.ones((), "float32") if kind == "only float32" else y

    return RandomFunction(
        function,
        lambda x: tf.concat([f(x) for f in right], axis=1),
        x,
        int(order),
        kind,
        fault.__name__ if fault else "",
    )


def study(number: int, seed: int, report: Callable, every: int | None = None) -> dict:
    """Returns the counts of outcomes, by kind and by whether the derivative is wrong.

    Args:
        number: How many functions are random_function.
        seed: Seed of the random numbers.
        tell: Called with a line for each unexpected outcome.
        every: Prints the table after this many functions.
    """
    counts = collections.Counter()
    for i in range(number):
        case = random_function(np.random.default_rng([seed, i]))
        is_wrong = case.is_wrong()
        quality = "wrong" if is_wrong else "hardly wrong" if case.fault else "right"
        outcome = case.outcome()
        counts[case.kind, quality, outcome] += 1
        if (quality, outcome) in (("wrong", "verified"), ("right", "refused")):
            report(
                f"{seed} {i} {case.kind}: {quality} {case.fault}, order {case.order}, {outcome}"
            )
        if every and (i + 1) % every == 0:
            print(f"{i + 1} functions\n{table(counts)}", flush=True)
    return counts


def table(counts: dict) -> str:
    """Returns the counts by dtype, without derivatives that are wrong by less than 1 %."""
    head = ("dtype", "right", "refused", "few digits", "wrong", "certified", "few digits")
    rows = [head]
    for kind in KINDS:
        cells = [kind]
        for quality, unexpected in (("right", "refused"), ("wrong", "verified")):
            outcomes = {
                o: n for (k, q, o), n in counts.items() if (k, q) == (kind, quality)
            }
            unexpected_and_few = (
                outcomes.get(unexpected, 0),
                outcomes.get("not enough digits", 0),
            )
            cells += [sum(outcomes.values()), *unexpected_and_few]
        rows.append(cells)
    return "\n".join(("{:>14}" * len(head)).format(*row) for row in rows)


def main(number: int = 2000, seed: int = 0) -> None:
    """Prints the table and all unexpected outcomes."""
    study(number, seed, lambda text: print(text, flush=True), every=max(1, number // 10))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
