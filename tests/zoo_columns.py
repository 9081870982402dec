"""The results of each public function for a model of the zoo, with the expected ones."""

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import richardson
import tensorflow as tf
from fresh_start import set_random_seed
from keras import ops, tree
from richardson import Derivatives
from zoo import ZOO, Row, build_model, in_dtype, variables_of

import keras_smooth
from keras_smooth.differentiation.points import checked_points

# The index of a loss in TOLERANCES of zoo_table.py, after those of y, y' and y''.
LOSS = 3
LEARNING_RATE = 2e-5
# Step of the weights, relative to that of the inputs: differences have five digits in float32.
STEP = 0.04


class Case:
    """A model of the zoo with its points, initial variables and exact derivatives."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.model = build_model(row)
        self.twin = self.model if row.dtype == "float64" else build_model(row, "float64")
        self.x = in_dtype(row.x, row.dtype)
        self.variables = variables_of(self.model)
        self.start = [np.asarray(variable) for variable in self.variables]

    @property
    def state(self) -> list[keras.Variable]:
        """The variables of the twin that a call may change."""
        return [v for v in variables_of(self.twin) if not v.trainable]

    def restart(self) -> None:
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)
        for variable, model_variable in zip(variables_of(self.twin), self.variables):
            if variable.dtype.startswith("float"):
                variable.assign(tf.cast(model_variable.value, variable.dtype))
        # The seed of conftest.py: with another one, TensorFlow would forget its kernels.
        set_random_seed(0)

    def rewind(self) -> None:
        """Restores the initial states of recurrent layers."""
        for variable, value in zip(self.variables, self.start, strict=True):
            if variable.path.endswith("rnn_state"):
                variable.assign(value)

    def exact_now(self, order: int = 2) -> Derivatives:
        """Returns the exact derivatives for the current weights of the model."""
        for variable, model_variable in zip(variables_of(self.twin), self.variables):
            if variable.dtype.startswith("float") and variable is not model_variable:
                variable.assign(tf.cast(model_variable.value, variable.dtype))
        return richardson.differences(
            self.twin, self.row.x, self.row.step, order, self.state
        )

    @functools.cached_property
    def exact(self) -> Derivatives:
        """The exact derivatives for the initial states, whichever column needs them first."""
        current = [np.asarray(variable) for variable in self.variables]
        self.rewind()
        exact = self.exact_now()
        for variable, value in zip(self.variables, current, strict=True):
            variable.assign(value)
        return exact

    @property
    def outputs(self) -> Any:
        return self.model(tree.map_structure(tf.constant, self.x))

    @property
    def targets(self) -> Any:
        return tree.map_structure(
            lambda y: np.cos(np.asarray(y, "float64")) + 0.5, self.outputs
        )

    @property
    def moving(self) -> list[np.ndarray]:
        return [part for part in tree.flatten(self.x) if part.dtype.kind == "f"]

    def compile(self, model: keras.Model | None = None, loss: Any = "mse") -> None:
        (model or self.model).compile(
            keras.optimizers.SGD(LEARNING_RATE),
            loss,
            jit_compile=False,
            **self.row.compiled,
        )


@functools.cache
def case_of(name: str) -> Case:
    return Case(ZOO[name])


# Comparisons: a name, the result, the expected result, the order of the derivatives.
Compared = Iterator[tuple[str, Any, Any, int]]
COLUMNS: dict[str, Callable[[Case], Compared]] = {}
# The public function that each column tests, and the rule by which it refuses models.
FUNCTION_OF_COLUMN: dict[str, str] = {}
RULES: dict[str, Callable[[Case], str | None]] = {}


def column(
    name: str, public_name: str, rule: Callable[[Case], str | None] = lambda case: None
):
    def add(function: Callable) -> Callable:
        COLUMNS[name], FUNCTION_OF_COLUMN[name], RULES[name] = function, public_name, rule
        return function

    return add


def _derivatives(entries: tuple, exact: Derivatives) -> Compared:
    expected = (exact.y, exact.dy, exact.d2y)
    for order, (value, expected_entry) in enumerate(zip(entries, expected)):
        yield ("y", "dy", "d2y")[order], value, expected_entry, order


def _of_engine(engine: str) -> Callable:
    return lambda case: _derivatives(
        keras_smooth.derivatives(case.model, case.x, engine=engine), case.exact
    )


for _engine in ("tape", "jet", "auto"):
    column(f"derivatives {_engine}", "derivatives")(_of_engine(_engine))


@column("verify", "derivatives")
def verify(case):
    entries = keras_smooth.derivatives(case.model, case.x, verify=True)
    yield "ok", entries.verification.ok, True, 0
    yield from _derivatives(entries, case.exact)


def _one_number(general: str) -> Callable:
    """Returns the rule that refuses outputs of more than one number and names `general`."""

    def rule(case: Case) -> str | None:
        y = tree.flatten(case.outputs)
        return None if len(y) == 1 and y[0][0].shape.num_elements() == 1 else general

    return rule


@column("gradient", "gradient", _one_number("jacobian"))
def gradient(case):
    result = keras_smooth.gradient(case.model, case.x)
    yield "gradient", result, case.exact.dy, 1
    yield "shapes", shapes(result), [part.shape for part in case.moving], 0


def shapes(nest: Any) -> list[tuple]:
    return [tuple(part.shape) for part in tree.flatten(nest)]


@column("jacobian", "jacobian")
def jacobian(case):
    result, exact = keras_smooth.jacobian(case.model, case.x), case.exact
    yield "jacobian", result, exact.dy, 1
    yield (
        "shapes",
        shapes(result),
        [(*y.shape, *_axes(x)) for y in exact.y for x in exact.inputs],
        0,
    )


def _axes(sample: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the axes that a derivative adds: a sample of one number adds none."""
    return () if math.prod(sample) == 1 else sample


@column("hessian", "hessian")
def hessian(case):
    result, exact = keras_smooth.hessian(case.model, case.x), case.exact
    yield "hessian", result, exact.d2y, 2
    pairs = list(itertools.product(exact.inputs, repeat=2))
    yield (
        "shapes",
        shapes(result),
        [(*y.shape, *_axes(a), *_axes(b)) for y in exact.y for a, b in pairs],
        0,
    )


@column("laplacian", "laplacian")
def laplacian(case):
    result = keras_smooth.laplacian(case.model, case.x)
    yield "laplacian", result, case.exact.laplacian, 2
    yield "shapes", shapes(result), [y.shape for y in case.exact.y], 0


def _direction(case: Case) -> tuple[Any, np.ndarray]:
    """Returns a direction in the structure of the float inputs, and as one array."""
    rng = np.random.default_rng(5)
    parts = [rng.normal(size=part.shape).astype(part.dtype) for part in case.moving]
    if not parts:
        return 1.0, np.ones(1)
    joined = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    if len(parts) == len(tree.flatten(case.x)):
        return tree.pack_sequence_as(case.x, parts), joined
    return {k: v for (k, x), v in zip(_moving_items(case), parts)}, joined


def _moving_items(case: Case) -> list[tuple[str, np.ndarray]]:
    # Keras flattens dicts by sorted keys.
    return [(k, case.x[k]) for k in sorted(case.x) if case.x[k].dtype.kind == "f"]


@column("directional", "directional")
def directional(case):
    direction, v = _direction(case)
    entries = keras_smooth.directional(case.model, case.x, direction, 2)
    for order, (value, expected) in enumerate(zip(entries, case.exact.along(v))):
        yield f"order {order}", value, expected, order


def _in_tf_function(case: Case, operator: Callable, *arguments: Any) -> Any:
    """Returns the result of an operator in a graph, for a model that was not called before."""
    case.restart()
    traced = tf.function(lambda x: operator(case.model, x, *arguments), autograph=False)
    return traced(tree.map_structure(tf.constant, case.x))


@column("tf.function derivatives", "derivatives")
def derivatives_in_a_function(case):
    yield from _derivatives(_in_tf_function(case, keras_smooth.derivatives), case.exact)
    yield "jacobian", _in_tf_function(case, keras_smooth.jacobian), case.exact.dy, 1


@column("tf.function laplacian", "laplacian")
def laplacian_in_a_function(case):
    direction, v = _direction(case)

    laplacian = _in_tf_function(case, keras_smooth.laplacian)
    yield "laplacian", laplacian, case.exact.laplacian, 2
    entries = _in_tf_function(case, keras_smooth.directional, direction, 2)
    for order, (value, expected) in enumerate(zip(entries, case.exact.along(v))):
        yield f"order {order}", value, expected, order


@column("audit", "audit")
def audit(case):
    report = keras_smooth.audit(case.model, case.x)
    yield "outcome", report.outcome, case.row.audit, 0
    assert "nan" not in str(report)


def _needs_graph(case: Case) -> str | None:
    return None if case.row.is_graph else "Sequential or Functional"


@column("smoothen", "smoothen", _needs_graph)
def smoothen(case):
    smooth = keras_smooth.smoothen(case.model, case.x)
    x = tree.map_structure(tf.constant, case.x)
    # Smooth ramps change outputs by log(2) / 10 times the slope of the layers after them.
    tolerance = 1e-5 if case.row.smoothness in (None, math.inf) else 0.3
    for before, after in zip(tree.flatten(case.model(x)), tree.flatten(smooth(x))):
        assert np.abs(np.asarray(before, "float64") - after).max() <= tolerance
    # A quantized layer has its weights in another order.
    before, after = (
        sorted(m.get_weights(), key=lambda w: (w.shape, w.tobytes()))
        for m in (case.model, smooth)
    )
    yield "weights", after, before, 0


def _in_units(part: np.ndarray) -> np.ndarray:
    """Returns floats minus their mean, divided by their standard deviation, by column."""
    if part.dtype.kind != "f":
        return part
    values = np.asarray(part, "float64").reshape(-1, part.shape[-1] if part.ndim > 1 else 1)
    deviation = values.std(axis=0)
    units = (values - values.mean(axis=0)) / np.where(deviation > 1e-12, deviation, 1.0)
    return units.reshape(part.shape).astype(part.dtype)


@column("standardized", "standardized")
def standardized(case):
    x = tree.map_structure(tf.constant, case.x)
    outputs = keras_smooth.standardized(case.model, case.x)(x)
    inner = tree.map_structure(lambda part: tf.constant(_in_units(part)), case.x)
    case.rewind()
    for after, before in zip(tree.flatten(outputs), tree.flatten(case.model(inner))):
        yield "y", after, before, 0
    # The model keeps the losses of its last call.
    _ = case.outputs


@column("output_change", "output_change")
def output_change(case):
    change = keras_smooth.output_change(case.model, case.model, case.x)
    yield "largest", change.largest, 0.0, 0


@column("smoothness", "smoothness")
def smoothness(case):
    # A new model: the one that `standardized` has called with symbols has known inputs.
    yield "class", keras_smooth.smoothness(build_model(case.row)), case.row.smoothness, 0


def _needs_model(case: Case) -> str | None:
    return None if isinstance(case.model, keras.Model) else "Pass `objective`"


@column("fit_lbfgs loss", "fit_lbfgs", _needs_model)
def fit_by_loss(case):
    x, y = case.x, case.targets
    if isinstance(case.model, keras.Model):
        case.compile()
        before = float(case.model.compute_loss(x, y, case.outputs))
    history = keras_smooth.fit_lbfgs(
        case.model, x, y, epochs=3, jit_compile=False, verbose=0
    )
    assert history.result.fun < before
    if not case.row.differs_in_training:
        yield (
            "loss",
            history.result.fun,
            float(case.model.compute_loss(x, y, case.outputs)),
            LOSS,
        )


@column("fit_lbfgs objective", "fit_lbfgs")
def fit_by_objective(case):
    def objective(model, x):
        y, dy = keras_smooth.derivatives(model, x, 1)
        return {"y": _mean_square(y, 0.5), "dy": _mean_square(dy, 0.5)}

    history = keras_smooth.fit_lbfgs(
        case.model, case.x, objective=objective, epochs=2, jit_compile=False, verbose=0
    )
    exact = case.exact_now(1)
    assert history.result.fun < history.history["loss"][0] or history.result.success
    yield "y", history.history["y"][-1], _of_arrays(exact.y, 0.5), LOSS
    yield "dy", history.history["dy"][-1], _of_arrays(exact.dy, 0.5), LOSS


def _mean_square(nest: Any, target: float) -> Any:
    parts = [ops.reshape(part, (-1,)) for part in tree.flatten(nest)]
    return ops.mean((ops.concatenate(parts) - target) ** 2)


def _of_arrays(parts: list[np.ndarray], target: float = 0.0) -> float:
    return float(np.mean((np.concatenate([part.ravel() for part in parts]) - target) ** 2))


@column("by the weights", "derivatives")
def by_the_weights(case):
    """The slope of a loss of derivatives along a random direction of the weights."""
    trained = [v for v in case.variables if v.trainable and v.dtype.startswith("float")]
    start = [np.asarray(v) for v in trained]
    rng = np.random.default_rng(6)
    direction = [rng.normal(size=v.shape) for v in trained]

    def of(y: Any, dy: Any) -> Any:
        return _mean_square(y, 0.5) + _mean_square(dy, 0.5)

    def exact(step: float) -> float:
        for variable, value, v in zip(trained, start, direction):
            variable.assign(value + step * v)
        exact = case.exact_now(1)
        return _of_arrays(exact.y, 0.5) + _of_arrays(exact.dy, 0.5)

    with tf.GradientTape() as tape:
        loss = of(*keras_smooth.derivatives(case.model, case.x, 1))
    gradients = tape.gradient(loss, [v.value for v in trained])
    slope = sum(np.sum(np.asarray(tf.convert_to_tensor(g), "float64") * v)
                for g, v in zip(gradients, direction) if g is not None)  # fmt: skip
    case.restart()
    step = STEP * case.row.step
    near, far = ((exact(h) - exact(-h)) / (2 * h) for h in (step, 2 * step))
    case.restart()
    yield "slope", slope, (4 * near - far) / 3, LOSS


@column("DerivativeMonitor", "DerivativeMonitor")
def monitor(case):
    entries = keras_smooth.derivatives(case.model, case.x)
    zeros = tree.map_structure(lambda part: np.zeros(part.shape), list(entries))
    callback = keras_smooth.DerivativeMonitor(case.x, zeros)
    case.compile()
    x = tree.map_structure(tf.constant, case.x)
    case.model.fit(x, case.targets, batch_size=len(case.moving[0]), epochs=1,
                   shuffle=False, verbose=0, callbacks=[callback])  # fmt: skip
    exact = case.exact_now()
    for order, key in enumerate(("y", "dy", "d2y")):
        expected = _of_arrays((exact.y, exact.dy, exact.d2y)[order])
        yield key, callback.history[f"{key}_mse"][-1], expected, max(order, LOSS)


def _one_to_one(case: Case) -> str | None:
    if not isinstance(case.model, keras.Model):
        return "Keras model"
    if len(tree.flatten(case.x)) > 1:
        return "one input"
    return "one output" if len(tree.flatten(case.outputs)) > 1 else None


@column("DerivativeModel", "DerivativeModel", _one_to_one)
def derivative_model(case):
    model = keras_smooth.DerivativeModel(case.model, order=1)
    case.compile(model, {"dy": "mse"})
    target = np.cos(np.asarray(model(case.x)["dy"], "float64")) + 0.5

    def loss(exact: Derivatives) -> float:
        return float(np.mean((exact.dy[0].reshape(target.shape) - target) ** 2))

    before = loss(case.exact) + _penalty(case)
    case.restart()
    # No shuffling: the states of a stateful layer belong to positions in the batch.
    fitted = model.fit(case.x, {"dy": target}, batch_size=len(target), epochs=1,
                       shuffle=False, verbose=0)  # fmt: skip
    exact = case.exact_now(1)
    yield "dy", model(case.x)["dy"], exact.dy, 1
    if case.row.differs_in_training:
        return
    yield "loss", fitted.history["loss"][0], before, LOSS
    # A step of gradient descent reduces the loss by the squared length of the gradient times
    # the learning rate, except for the curvature along so short a step.
    fall = sum(
        np.sum((np.asarray(v, "float64") - w) ** 2)
        for v, w in zip(case.variables, case.start) if v.trainable
    ) / LEARNING_RATE  # fmt: skip
    case.rewind()
    fell = before - loss(case.exact_now(1)) - _penalty(case)
    assert abs(fell - fall) <= 0.1 * fall, f"the loss fell by {fell}, not {fall}"
    assert fall > 0.0, "no weight was trained"


def _penalty(case: Case) -> float:
    """Returns the sum of regularizers and losses that the model adds."""
    case.model(case.x)
    return float(sum(case.model.losses)) if case.model.losses else 0.0


def _saved_and_loaded(case: Case, model: keras.Model) -> keras.Model:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"zoo-{os.getpid()}.keras"
    try:
        model.save(path)
        return keras.models.load_model(path, safe_mode=False)
    finally:
        path.unlink(missing_ok=True)


@column("saved", "derivatives")
def saved(case):
    loaded = _saved_and_loaded(case, case.model)
    yield from _derivatives(keras_smooth.derivatives(loaded, case.x), case.exact)
    if not _one_to_one(case):
        model = _saved_and_loaded(case, keras_smooth.DerivativeModel(case.model, order=1))
        yield "dy of a DerivativeModel", model(case.x)["dy"], case.exact.dy, 1


def _first_and_last(case: Case) -> tuple[list, list[int]]:
    """Returns the names of the first and last float of a sample, and their indices.

    Named as in `partials`: by indices, with the name of the input if there are several.
    """
    inputs = [part.shape[1:] for part in case.moving]
    if not inputs:
        return [0, 0], [0, 0]
    names = checked_points(case.model, case.x).names
    sizes = [math.prod(shape) for shape in inputs]
    ends = []
    for input_number, flat_index in ((0, 0), (len(inputs) - 1, sizes[-1] - 1)):
        index = np.unravel_index(flat_index, inputs[input_number] or (1,))
        index = tuple(map(int, index))
        ends.append((names[input_number], *index) if len(inputs) > 1 else index)
    return ends, [0, sum(sizes) - 1]


@column("derivatives partials", "partials")
def partials(case):
    (a, b), (i, j) = _first_and_last(case)
    y, first, pure, mixed = keras_smooth.partials(
        case.model, case.x, [(a,), (a, a), (a, b)]
    )
    exact = case.exact
    yield "y", y, exact.y, 0
    yield "first", first, [d[..., i] for d in exact.first], 1
    yield "pure", pure, [d[..., i, i] for d in exact.second], 2
    yield "mixed", mixed, [d[..., i, j] for d in exact.second], 2
    yield "shapes", shapes(mixed), [y.shape for y in exact.y], 0


def _refused_points(case: Case) -> str | None:
    """Returns why the points of a model are refused, whatever it computes."""
    reason = case.row.reason("gradient")
    return reason if reason in ("quantized", "hold") else None


@column("plan", "plan", _refused_points)
def plan(case):
    (a, b), _ = _first_and_last(case)
    plan = keras_smooth.plan(case.model, case.x, [(a, b)])
    yield "directions", len(plan.directions), 1 if a == b else 2, 0


@column("derivatives linear_operator", "linear_operator")
def linear_operator(case):
    (a, b), (i, j) = _first_and_last(case)
    operator = (
        {(a,): 2.0, (a, a): 0.5, (b, a): -1.0} if a != b else {(a,): 2.0, (a, a): -0.5}
    )
    result, exact = keras_smooth.linear_operator(case.model, case.x, operator), case.exact
    expected = [
        2.0 * first[..., i] + 0.5 * second[..., i, i] - second[..., i, j]
        for first, second in zip(exact.first, exact.second)
    ]
    yield "value", result, expected, 2
    yield "shapes", shapes(result), [y.shape for y in exact.y], 0


@column(
    "derivatives hessian_vector_product", "hessian_vector_product", _one_number("hessian")
)
def hessian_vector_product(case):
    direction, v = _direction(case)
    result, exact = (
        keras_smooth.hessian_vector_product(case.model, case.x, direction),
        case.exact,
    )
    product = np.einsum("nij,nj->ni", exact.second[0].reshape(len(v), *[v.shape[1]] * 2), v)
    yield "product", result, [product[:, indices] for indices in exact.places], 2
    yield "shapes", shapes(result), [part.shape for part in case.moving], 0


@column("derivatives advection", "advection")
def advection(case):
    direction, v = _direction(case)
    result = keras_smooth.advection(case.model, case.x, direction)
    yield "value", result, case.exact.along(v)[1], 1


def _needs_field(case: Case) -> str | None:
    """Returns a word of the message if the model is not a vector field."""
    y = [tuple(part.shape) for part in tree.flatten(case.outputs)]
    x = [part.shape for part in case.moving]
    return None if y == x and len(x) == 1 else "vector field"


def _needs_plane(case: Case) -> str | None:
    moving = [part.shape[1:] for part in case.moving]
    if len(moving) == 1 and moving[0] not in ((2,), (3,)):
        return "curl needs"
    return _needs_field(case)


@column("derivatives divergence", "divergence", _needs_field)
def divergence(case):
    result, first = keras_smooth.divergence(case.model, case.x), case.exact.first[0]
    square = first.reshape(len(first), *[first.shape[-1]] * 2)
    yield "value", result, [np.trace(square, axis1=1, axis2=2)], 1


@column("derivatives curl", "curl", _needs_plane)
def curl(case):
    result, d = keras_smooth.curl(case.model, case.x), case.exact.first[0]
    pairs = {2: [(1, 0)], 3: [(2, 1), (0, 2), (1, 0)]}[d.shape[-1]]
    yield "value", result, [np.stack([d[:, i, j] - d[:, j, i] for i, j in pairs], 1)], 1


@column("derivatives vector_laplacian", "vector_laplacian", _needs_field)
def vector_laplacian(case):
    result = keras_smooth.vector_laplacian(case.model, case.x)
    yield "value", result, case.exact.laplacian, 2


@column("derivatives biharmonic", "biharmonic")
def biharmonic(case):
    """Compares shapes only; test_linear_operators.py compares values with closed forms."""
    result, y = keras_smooth.biharmonic(case.model, case.x), case.exact.y
    yield "shapes", shapes(result), [part.shape for part in y], 0
