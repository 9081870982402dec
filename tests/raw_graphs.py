"""Random functions of raw `tf` operations, custom layers and shared parts, each from a seed.

It differs from random_models.py: Keras' layers are only used in custom code, tensors have any
rank, and one to three inputs are passed as a tensor, a list or a dict. Values have size 1, so
that differences of order 4 have enough digits.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SAMPLES, NUMBERS = 3, 4
# Shapes of a sample of the inputs: a vector, a square matrix and an image.
SHAPES = ((NUMBERS,), (NUMBERS, NUMBERS), (NUMBERS, NUMBERS, NUMBERS))


def positive(x):
    return 0.5 + tf.square(x) / (1 + tf.square(x))


def small(x):
    return 0.8 * tf.tanh(x)


def constant(x, *shape, seed=0):
    return tf.constant(0.5 * np.random.default_rng(seed).normal(size=shape), x.dtype)


@tf.custom_gradient
def declared(x):
    """Returns exp(-x^2), with a right custom gradient."""
    y = tf.exp(-x * x)
    return y, lambda upstream: -2 * upstream * x * y


class Mixture(keras.layers.Layer):
    """A custom layer with a list of weights, a Python loop and an operation of `tf`."""

    def build(self, shape):
        shape = (int(shape[-1]), int(shape[-1]))
        self.kernels = [
            self.add_weight(shape=shape, initializer=keras.initializers.GlorotNormal(i))
            for i in range(2)
        ]

    def call(self, x):
        return sum(tf.sin(tf.einsum("...i,ij->...j", x, kernel)) for kernel in self.kernels)


def loop(x):
    _, y = tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) + 0.3 * x), (tf.constant(0), x)
    )
    return y


def accumulated(x):
    """Has a loop over the second axis that writes an array."""
    steps = tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    states = tf.scan(lambda state, step: tf.tanh(state + step), steps)
    return tf.transpose(states, [1, 0, *range(2, x.shape.rank)])


def spectrum(x):
    """Returns a smooth function of the Fourier coefficients."""
    coefficients = tf.signal.rfft(x)
    return tf.signal.irfft(coefficients * tf.constant([1.0, 0.5, 0.3j], coefficients.dtype))


def symmetric(x):
    x = small(x)
    return (
        x
        + tf.linalg.matrix_transpose(x)
        + tf.linalg.diag(tf.constant([2.0, 4, 6, 8], x.dtype))
    )


def definite(x):
    x = small(x)
    return tf.matmul(x, x, transpose_b=True) + 2 * tf.eye(NUMBERS, dtype=x.dtype)


def stacked(parts):
    return tf.stack(parts, axis=1)


ANY = {
    "sin": tf.sin,
    "cos": tf.cos,
    "tan": lambda x: tf.tan(small(x)),
    "sinh": lambda x: tf.sinh(small(x)),
    "cosh": lambda x: tf.cosh(small(x)),
    "tanh": tf.tanh,
    "asin": lambda x: tf.asin(small(x)),
    "acos": lambda x: tf.acos(small(x)),
    "atan": tf.atan,
    "asinh": tf.asinh,
    "acosh": lambda x: tf.acosh(1 + positive(x)),
    "atanh": lambda x: tf.atanh(small(x)),
    "exp": lambda x: tf.exp(small(x)),
    "expm1": lambda x: tf.math.expm1(small(x)),
    "log": lambda x: tf.math.log(positive(x)),
    "log1p": lambda x: tf.math.log1p(positive(x)),
    "sqrt": lambda x: tf.sqrt(positive(x)),
    "rsqrt": lambda x: tf.math.rsqrt(positive(x)),
    "reciprocal": lambda x: tf.math.reciprocal(positive(x)),
    "reciprocal_no_nan": lambda x: tf.math.reciprocal_no_nan(positive(x)),
    "square": lambda x: tf.square(small(x)),
    "cube": lambda x: small(x) ** 3,
    "power": lambda x: positive(x) ** 1.7,
    "power of two": lambda x: tf.pow(positive(x), small(x)),
    "constant to a power": lambda x: tf.pow(tf.constant(1.5, x.dtype), small(x)),
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
    "erfinv": lambda x: tf.math.erfinv(small(x)),
    "ndtri": lambda x: tf.math.ndtri(0.5 + 0.4 * small(x)),
    "lgamma": lambda x: tf.math.lgamma(1 + positive(x)),
    "digamma": lambda x: tf.math.digamma(1 + positive(x)),
    "polygamma": lambda x: tf.math.polygamma(tf.ones_like(x), 1 + positive(x)),
    "zeta": lambda x: tf.math.zeta(3 + tf.zeros_like(x), 1 + positive(x)),
    "igamma": lambda x: tf.math.igamma(tf.constant(2.0, x.dtype), positive(x)),
    "betainc": lambda x: tf.math.betainc(
        tf.constant(2.0, x.dtype), tf.constant(3.0, x.dtype), 0.5 + 0.4 * small(x)
    ),
    "bessel_i0e": tf.math.bessel_i0e,
    "bessel_i1": lambda x: tf.math.bessel_i1(small(x)),
    "bessel_j0": lambda x: tf.math.special.bessel_j0(positive(x)),
    "dawsn": tf.math.special.dawsn,
    "expint": lambda x: tf.math.special.expint(positive(x)),
    "fresnel_sin": tf.math.special.fresnel_sin,
    "spence": lambda x: tf.math.special.spence(positive(x)),
    "sigmoid": tf.sigmoid,
    "log_sigmoid": tf.math.log_sigmoid,
    "softplus": tf.math.softplus,
    "softsign": lambda x: tf.nn.softsign(positive(x)),
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "gelu": tf.nn.gelu,
    "approximate gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "silu": tf.nn.silu,
    "relu": lambda x: tf.nn.relu(x + 0.1),
    "relu6": tf.nn.relu6,
    "leaky_relu": tf.nn.leaky_relu,
    "crelu": tf.nn.crelu,
    "abs": tf.abs,
    "sign": lambda x: tf.sign(x) * tf.sin(x),
    "floor": lambda x: x - tf.floor(2 * x) / 2,
    "round": lambda x: tf.round(x) * tf.cos(x),
    "floormod": lambda x: tf.math.floormod(x, tf.constant(0.7, x.dtype)),
    "maximum": lambda x: tf.maximum(tf.sin(x), tf.cos(x)),
    "minimum": lambda x: tf.minimum(x, tf.square(small(x))),
    "clip_by_value": lambda x: tf.clip_by_value(x, -0.5, 0.5) * x,
    "where": lambda x: tf.where(x > 0.2, tf.sin(x), small(x)),
    "where of a constant": lambda x: tf.where(constant(x, *x.shape[1:]) > 0, x, tf.cos(x)),
    "double where": lambda x: tf.where(x > 0, tf.sqrt(tf.where(x > 0, x, 1.0)), x),
    "squared_difference": lambda x: tf.math.squared_difference(small(x), tf.cos(x)),
    "atan2": lambda x: tf.atan2(x, positive(x)),
    "xlogy": lambda x: tf.math.xlogy(x, positive(x)),
    "xlog1py": lambda x: tf.math.xlog1py(small(x), positive(x)),
    "xdivy": lambda x: tf.math.xdivy(x, positive(x)),
    "divide_no_nan": lambda x: tf.math.divide_no_nan(x, positive(x)),
    "complex": lambda x: tf.abs(tf.complex(x, positive(x))),
    "complex product": lambda x: tf.math.real(tf.complex(x, small(x)) ** 2),
    "angle": lambda x: tf.math.angle(tf.complex(positive(x), x)),
    "identity": tf.identity,
    "ensure_shape": lambda x: tf.ensure_shape(x, x.shape),
    "stop_gradient of zeros": lambda x: x + tf.stop_gradient(tf.zeros_like(x)),
    "cast": lambda x: tf.cast(tf.cast(x > 0, "int32"), x.dtype) * x,
    "stateless normal": lambda x: (
        x * tf.random.stateless_normal(x.shape[1:], (1, 2), dtype=x.dtype)
    ),
    "declared gradient": declared,
    "recompute_grad": tf.recompute_grad(lambda x: tf.sin(x) * x),
    "nested function": tf.function(lambda x: tf.sin(x) * tf.tanh(x)),
    "cond": lambda x: tf.cond(tf.constant(True), lambda: tf.sin(x), lambda: x),
    "switch_case": lambda x: tf.switch_case(
        tf.constant(1), [lambda: x, lambda: tf.cos(x), lambda: x]
    ),
    "while_loop": loop,
    "scan": accumulated,
    "map_fn": lambda x: tf.map_fn(lambda row: tf.sin(row) * tf.reduce_mean(row), x),
    "vectorized_map": lambda x: tf.vectorized_map(lambda row: row * tf.reduce_mean(row), x),
    "Mixture": lambda x, layer=None: Mixture(dtype=x.dtype)(x),
    "reduce_sum": lambda x: x * tf.sin(tf.reduce_sum(x, -1, keepdims=True)),
    "reduce_mean": lambda x: x - tf.reduce_mean(x, -1, keepdims=True),
    "reduce_prod": lambda x: x + tf.reduce_prod(small(x), -1, keepdims=True),
    "reduce_max": lambda x: x - tf.reduce_max(x, -1, keepdims=True),
    "reduce_min": lambda x: x * tf.reduce_min(x, -1, keepdims=True),
    "reduce_logsumexp": lambda x: x - tf.reduce_logsumexp(x, -1, keepdims=True),
    "reduce_euclidean_norm": lambda x: (
        x / tf.math.reduce_euclidean_norm(1 + positive(x), -1, True)
    ),
    "reduce_std": lambda x: x / (0.5 + tf.math.reduce_std(x, -1, keepdims=True)),
    "reduce_variance": lambda x: x / (0.5 + tf.math.reduce_variance(x, -1, keepdims=True)),
    "moments": lambda x: x / tf.sqrt(0.1 + tf.nn.moments(x, [-1], keepdims=True)[1]),
    "cumsum": lambda x: tf.sin(tf.cumsum(x, axis=-1, exclusive=True)),
    "cumprod": lambda x: tf.math.cumprod(small(x), axis=-1, reverse=True),
    "cumulative_logsumexp": lambda x: tf.math.cumulative_logsumexp(small(x), axis=-1),
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.log_softmax,
    "l2_normalize": lambda x: tf.math.l2_normalize(x + 2, axis=-1),
    "norm": lambda x: x / tf.norm(x, axis=-1, keepdims=True),
    "reverse": lambda x: tf.reverse(x, [-1]) * tf.sin(x),
    "roll": lambda x: tf.roll(x, 1, axis=-1) * x,
    "sort": lambda x: tf.sort(x, axis=-1, direction="DESCENDING") * x,
    "top_k": lambda x: tf.math.top_k(x, 2)[0],
    "argmax": lambda x: tf.one_hot(tf.argmax(x, -1), x.shape[-1], dtype=x.dtype) * x,
    "argsort": lambda x: tf.gather(
        x, tf.argsort(x, axis=-1), axis=-1, batch_dims=x.shape.rank - 1
    ),
    "gather": lambda x: tf.gather(x, [2, 0, 0, 1], axis=-1) * tf.sin(x[..., :1]),
    "strided slice": lambda x: x[..., ::-1] * x[..., 0:1],
    "slice": lambda x: tf.slice(x, [0] * x.shape.rank, [-1] * (x.shape.rank - 1) + [1]) * x,
    "split": lambda x: tf.concat([tf.sin(part) for part in tf.split(x, 2, axis=-1)], -1),
    "stack": lambda x: tf.reduce_mean(tf.stack([x, tf.sin(x)], axis=-1) ** 2, -1),
    "unstack": lambda x: tf.stack(tf.unstack(tf.sin(x), axis=-1)[::-1], axis=-1),
    "tile": lambda x: tf.tile(x, [1] * (x.shape.rank - 1) + [2])[..., : x.shape[-1]] * x,
    "repeat": lambda x: tf.repeat(x, 2, axis=-1)[..., 1::2] * tf.cos(x),
    "broadcast_to": lambda x: tf.broadcast_to(x[..., :1], tf.shape(x)) * x,
    "expand_dims": lambda x: tf.squeeze(tf.sin(tf.expand_dims(x, 1)), 1),
    "pad": lambda x: tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[1, 0]])[..., 1:] * x,
    "mirror_pad": lambda x: (
        tf.pad(x, [[0, 0]] * (x.shape.rank - 1) + [[1, 1]], "REFLECT")[..., : x.shape[-1]]
        * x
    ),
    "bias_add": lambda x: tf.nn.bias_add(x, constant(x, x.shape[-1])),
    "dynamic_stitch": lambda x: tf.transpose(
        tf.dynamic_stitch(
            [[1, 0], list(range(2, x.shape[-1]))],
            [
                tf.sin(tf.einsum("...i->i...", x)[:2]),
                tf.einsum("...i->i...", x)[2:],
            ],
        ),
        [*range(1, x.shape.rank), 0],
    ),
}

BY_RANK = {
    2: {
        "matmul": lambda x: tf.tanh(tf.matmul(x, constant(x, x.shape[-1], NUMBERS))),
        "tensordot": lambda x: tf.tensordot(x, constant(x, x.shape[-1], NUMBERS), 1),
        "outer": lambda x: tf.einsum("bi,bj->bij", x, tf.sin(x))[:, :NUMBERS, :NUMBERS],
        "diag": lambda x: tf.linalg.diag(x)[:, :NUMBERS, :NUMBERS],
        "reshape": lambda x: tf.reshape(x, [-1, 2, x.shape[-1] // 2]) if x.shape[-1] % 2 == 0 else x,
        "rfft": lambda x: spectrum(x) if x.shape[-1] == NUMBERS else x,
        "frame": lambda x: tf.signal.frame(x, 2, 1) if x.shape[-1] == NUMBERS else x,
        "dct": lambda x: tf.signal.dct(x, norm="ortho"),
        "tensor_scatter_nd_add": lambda x: tf.transpose(
            tf.tensor_scatter_nd_add(
                tf.transpose(x), [[0], [1]], tf.transpose(tf.sin(x))[:2]
            )
        ),
        "segment_sum": lambda x: tf.transpose(
            tf.math.segment_sum(tf.transpose(tf.sin(x)), [0, 0] + [1] * (x.shape[-1] - 2))
        ),
        "unsorted_segment_max": lambda x: tf.transpose(
            tf.math.unsorted_segment_max(tf.transpose(x), [1, 0] + [1] * (x.shape[-1] - 2), 2)
        ),
        "boolean_mask": lambda x: tf.boolean_mask(x, [True, False] + [True] * (x.shape[-1] - 2), axis=1),
        "cross": lambda x: tf.linalg.cross(x[:, :3], tf.sin(x[:, 1:4])) if x.shape[-1] >= 4 else x,
        "cross entropy": lambda x: tf.nn.softmax_cross_entropy_with_logits(
            tf.nn.softmax(tf.cos(x)), x
        )[:, None] * x,
        "sigmoid cross entropy": lambda x: tf.nn.sigmoid_cross_entropy_with_logits(
            tf.sigmoid(tf.sin(x)), x
        ),
        "adjacent differences": lambda x: tf.experimental.numpy.diff(tf.square(x), axis=-1)
        if x.shape[-1] > 2 else x,
    },
    3: {
        "batch matmul": lambda x: tf.matmul(small(x), x, transpose_b=True),
        "transpose": lambda x: tf.transpose(tf.sin(x), [0, 2, 1]),
        "einsum": lambda x: tf.einsum("bij,bkj->bik", small(x), tf.cos(x)),
        "flatten": lambda x: tf.reshape(x, [-1, x.shape[1] * x.shape[2]])[:, : 2 * NUMBERS],
        "conv1d": lambda x: tf.nn.conv1d(x, constant(x, 3, x.shape[-1], NUMBERS), 1, "SAME"),
        "max_pool1d": lambda x: tf.nn.max_pool1d(x, 2, 1, "SAME") * x,
        "avg_pool1d": lambda x: tf.nn.avg_pool1d(tf.sin(x), 2, 1, "SAME"),
        "matrix_band_part": lambda x: tf.linalg.band_part(x, 0, -1) * x,
        "squared": lambda x: tf.reduce_sum(x * x, axis=[1, 2], keepdims=True) * small(x) / 9,
        "gather_nd": lambda x: tf.gather_nd(tf.sin(x), [[[0], [1]]] * SAMPLES, batch_dims=1),
        "attention": lambda x: tf.matmul(
            tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), tf.sin(x)
        ),
        "overlap_and_add": lambda x: tf.signal.overlap_and_add(tf.sin(x), 1)[:, :NUMBERS],
        "distances": lambda x: tf.norm(
            x[:, :, None] - x[:, None] + tf.eye(x.shape[1], dtype=x.dtype)[..., None], axis=-1
        ),
    },
    4: {
        "conv2d": lambda x: tf.nn.conv2d(x, constant(x, 2, 2, x.shape[-1], NUMBERS), 1, "SAME"),
        "depthwise_conv2d": lambda x: tf.nn.depthwise_conv2d(
            x, constant(x, 2, 2, x.shape[-1], 1), [1, 1, 1, 1], "SAME"
        ),
        "conv2d_transpose": lambda x: tf.nn.conv2d_transpose(
            x, constant(x, 2, 2, NUMBERS, x.shape[-1]), [SAMPLES, x.shape[1], x.shape[2], NUMBERS], 1, "SAME"
        ) if x.shape[0] == SAMPLES else tf.sin(x),
        "avg_pool2d": lambda x: tf.nn.avg_pool2d(tf.sin(x), 2, 1, "SAME"),
        "max_pool2d": lambda x: tf.nn.max_pool2d(x, 2, 1, "SAME"),
        "space_to_depth": lambda x: tf.nn.space_to_depth(tf.sin(x), 2)
        if x.shape[1] % 2 == 0 else x,
        "resize nearest": lambda x: tf.image.resize(tf.sin(x), [2, 2], "nearest"),
        "flip": lambda x: tf.image.flip_left_right(x) * x,
        "to a sequence": lambda x: tf.reshape(x, [-1, x.shape[1], x.shape[2] * x.shape[3]]),
        "extract_patches": lambda x: tf.image.extract_patches(
            tf.sin(x), [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"
        ),
        "crop": lambda x: x[:, 1:, :-1] * tf.sin(x[:, :-1, 1:]),
    },
}  # fmt: skip

SQUARE = {
    "inverse": lambda x: tf.linalg.inv(symmetric(x)),
    "det": lambda x: tf.linalg.det(symmetric(x) / 4)[:, None, None] * x,
    "logdet": lambda x: tf.linalg.logdet(definite(x))[:, None, None] * x,
    "slogdet": lambda x: tf.linalg.slogdet(symmetric(x))[1][:, None, None] * x,
    "solve": lambda x: tf.linalg.solve(symmetric(x), tf.sin(x)),
    "cholesky": lambda x: tf.linalg.cholesky(definite(x)),
    "cholesky_solve": lambda x: tf.linalg.cholesky_solve(
        tf.linalg.cholesky(definite(x)), x
    ),
    "triangular_solve": lambda x: tf.linalg.triangular_solve(definite(x), x),
    "trace": lambda x: tf.linalg.trace(tf.sin(x))[:, None, None] * x,
    "diag_part": lambda x: tf.linalg.diag_part(tf.sin(x)),
    "set_diag": lambda x: tf.linalg.set_diag(x, tf.sin(x[:, 0])),
    "eigvalsh": lambda x: tf.linalg.eigvalsh(symmetric(x)) / 4,
    "eigh": lambda x: tf.linalg.eigh(symmetric(x))[0] / 4,
    "expm": lambda x: tf.linalg.expm(0.2 * small(x)),
    "matvec": lambda x: tf.linalg.matvec(x, tf.sin(x[:, 0])),
    "svd": lambda x: tf.linalg.svd(definite(x) + 3 * symmetric(x), compute_uv=False) / 9,
    "qr": lambda x: tf.linalg.qr(symmetric(x))[1],
    "adjoint": lambda x: tf.linalg.adjoint(tf.sin(x)) * x,
}

JOINED = {
    "add": lambda x, y: x + tf.sin(y),
    "multiply": lambda x, y: tf.sin(x) * y,
    "divide": lambda x, y: x / positive(y),
    "power": lambda x, y: positive(x) ** small(y),
    "maximum": lambda x, y: tf.maximum(x, y),
    "where": lambda x, y: tf.where(x > y, tf.sin(x), tf.cos(y)),
    "concat": lambda x, y: tf.concat([x, tf.sin(y)], -1)[..., 1 : 1 + x.shape[-1]],
    "logaddexp": lambda x, y: tf.reduce_logsumexp(tf.stack([x, y]), 0),
    "add_n": lambda x, y: tf.add_n([x, y, tf.sin(x)]),
    "lerp": lambda x, y: x + 0.3 * (tf.tanh(y) - x),
}


@dataclasses.dataclass
class RawGraph:
    """A random function, its inputs, and its operations.

    Args:
        seed: Seed of the function.
        function: A function of a tensor, a list or a dict of tensors.
        x: The inputs, arrays of float64.
        used: Counts of the operations.
    """

    seed: int
    function: Callable
    x: Any
    used: collections.Counter


def raw_graph(seed: int) -> RawGraph:
    """Returns the random function of a seed, with 3 to 9 operations and one to three inputs."""
    rng = np.random.default_rng([seed, 7])
    num_inputs = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    shapes = [SHAPES[rng.integers(len(SHAPES))] for _ in range(num_inputs)]
    inputs = [0.8 * rng.normal(size=(SAMPLES, *shape)) for shape in shapes]
    steps = [
        (int(rng.integers(1 << 30)), bool(rng.random() < 0.2), rng.random())
        for _ in range(rng.integers(3, 10))
    ]
    names = [f"input_{i}" for i in range(num_inputs)]
    form = "tensor" if num_inputs == 1 else ("list", "dict")[int(rng.integers(2))]
    layers: dict = {}
    used: collections.Counter = collections.Counter()

    def function(x):
        used.clear()
        values = list(x.values()) if form == "dict" else x if form == "list" else [x]
        values = [tf.convert_to_tensor(value) for value in values]
        for step, (number, is_joined, fraction) in enumerate(steps):
            operand = (
                values[-1] if fraction < 0.7 else values[int(fraction * 1e6) % len(values)]
            )
            same_shape = [v for v in values if v.shape[1:] == operand.shape[1:]]
            if is_joined and len(same_shape) > 1:
                kind = sorted(JOINED)[number % len(JOINED)]
                used[f"{kind} of two"] += 1
                values.append(
                    JOINED[kind](operand, same_shape[number // 100 % len(same_shape)])
                )
                continue
            rows = {**ANY, **BY_RANK.get(operand.shape.rank, {})}
            if operand.shape.rank == 3 and operand.shape[1] == operand.shape[2] == NUMBERS:
                rows |= SQUARE
            kind = sorted(rows)[number % len(rows)]
            if kind == "top_k" and operand.shape[-1] < 2 or operand.shape[-1] < 3:
                kind = "sin"
            used[kind] += 1
            if kind == "Mixture":
                layer = layers.setdefault(step, Mixture(dtype="float64"))
                values.append(layer(operand))
            else:
                values.append(rows[kind](operand))
        # Unused inputs and intermediate values are added with small weights.
        last = tf.reshape(values[-1], [tf.shape(values[-1])[0], -1])
        others = [
            0.1 * tf.reduce_sum(tf.sin(v), list(range(1, v.shape.rank)))
            for v in values[:-1]
        ]
        return last[:, :6] + tf.add_n(others)[:, None]

    x = {"tensor": lambda: inputs[0], "list": lambda: inputs,
         "dict": lambda: dict(zip(names, inputs))}[form]()  # fmt: skip
    return RawGraph(seed, function, x, used)
