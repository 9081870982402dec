"""fit_lbfgs beside what else could train the same net full batch.

    python benchmarks/lbfgs.py [--seeds 16] [--iterations 2000] [--pairs 50 300] [--systems NAME ...]

The article's net, 8 x 20 tanh, its 1000 points, float64, from the default start of
keras_smooth.Dense; one process on one core, CPU time. A memory of 300 pairs is the default of
fit_lbfgs for 1000 points. What is not part of TensorFlow runs where it
is installed (pip install 'keras-smooth[bench]'). Prints a table in Markdown.
"""

import argparse
import dataclasses
import functools
import math
import os
import statistics
import time
from collections.abc import Callable

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import tensorflow as tf

from keras_smooth.comparison import problems
from keras_smooth.comparison.experiment import Experiment, Start
from keras_smooth.comparison.settings import Settings
from keras_smooth.differentiation.operators import derivatives
from keras_smooth.lbfgs import micro_batches
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective import Objective

CHUNK = 20
LEVELS = (1e-8, 1e-9, 1e-10, 1e-12, 1e-14)
# Levenberg-Marquardt makes so many fewer iterations; each costs hundreds of evaluations.
JACOBIANS = 40
ACTIVATION = "tanh"
# torch.optim.LBFGS has absolute thresholds: it drops pairs with s . y below 1e-10 and ends
# line searches at steps below 1e-9. With the loss as it is it stalls at 6e-8.
TORCH_SCALE = 1e6


@dataclasses.dataclass
class Trace:
    """CPU seconds and loss after every chunk, and what the run came to."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    iterations: int = 0
    evaluations: int = 0
    position: np.ndarray | None = None
    started: float = dataclasses.field(default_factory=time.process_time)

    def note(self, loss: float) -> None:
        self.seconds.append(time.process_time() - self.started)
        self.losses.append(loss)

    def until(self, level: float) -> float:
        pairs = zip(self.seconds, self.losses)
        return next((seconds for seconds, loss in pairs if loss <= level), math.inf)


def keras_system(model, method: str, num_pairs: int) -> Callable:
    """What fit_lbfgs runs, without callbacks."""
    evaluate = functools.partial(
        micro_batches.over_all_rows, Objective(model).value_and_gradient
    )
    minimizer = Minimizer(evaluate, method, num_pairs)

    def run(x, y, position, iterations) -> Trace:
        parts = (tf.constant(x), tf.constant(y), None)
        data = micro_batches.at_once(parts, "float64")
        trace = Trace()
        state = minimizer.begin(tf.constant(position), data)
        while trace.iterations < iterations:
            before = int(state.num_iterations), int(state.num_objective_evaluations)
            state = minimizer.advance(state, CHUNK, 0.0, data)
            trace.iterations += int(state.num_iterations) - before[0]
            trace.evaluations += int(state.num_objective_evaluations) - before[1]
            trace.note(float(state.objective_value))
            if bool(state.failed):
                if int(state.num_iterations) == 0:
                    break
                state = minimizer.begin(state.position, data)
        trace.position = state.position.numpy()
        return trace

    return run


def jax_net(shapes: list[tuple]):
    """The errors of the same net in JAX, of the flat vector of weights."""
    import jax.numpy

    jax.config.update("jax_enable_x64", True)

    def errors(position, x, y):
        place, value = 0, x
        for layer in range(0, len(shapes), 2):
            kernel, bias = shapes[layer], shapes[layer + 1]
            size = math.prod(kernel)
            weights = position[place : place + size].reshape(kernel)
            value = value @ weights + position[place + size : place + size + bias[0]]
            place += size + bias[0]
            if layer < len(shapes) - 2:
                value = jax.numpy.tanh(value)
        return (value - y)[:, 0]

    return errors


def jax_loss(shapes: list[tuple]):
    """The same loss in JAX, of the flat vector of weights."""
    import jax.numpy

    errors = jax_net(shapes)
    return lambda position, x, y: jax.numpy.mean(errors(position, x, y) ** 2)


def scipy_system(model, num_pairs: int) -> Callable:
    """SciPy's L-BFGS-B over an objective compiled by JAX."""
    import jax.numpy
    from scipy import optimize

    function = jax.jit(jax.value_and_grad(jax_loss(Objective(model).shapes)))

    def run(x, y, position, iterations) -> Trace:
        trace = Trace()
        last = {}

        def value_and_gradient(weights):
            value, gradient = function(weights, x, y)
            last["value"] = float(value)
            trace.evaluations += 1
            return last["value"], np.asarray(gradient)

        def callback(intermediate_result):
            trace.iterations += 1
            if trace.iterations % CHUNK == 0:
                trace.note(float(intermediate_result.fun))

        found = optimize.minimize(
            value_and_gradient, position, jac=True, method="L-BFGS-B", callback=callback,
            options={"maxiter": iterations, "maxfun": 10 * iterations, "maxcor": num_pairs,
                     "ftol": 0.0, "gtol": 0.0},
        )  # fmt: skip
        trace.note(float(found.fun))
        trace.position = found.x
        return trace

    return run


def optax_system(model, num_pairs: int) -> Callable:
    """optax.lbfgs with its zoom line search, a chunk of iterations a call."""
    import jax.numpy
    import optax

    loss = jax_loss(Objective(model).shapes)
    # Like fit_lbfgs, it is faster with a curvature of 0.5 than with its default of 0.9.
    search = optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one", curv_rtol=0.5)
    solver = optax.lbfgs(memory_size=num_pairs, linesearch=search)

    @jax.jit
    def chunk(position, state, x, y):
        def of_position(weights):
            return loss(weights, x, y)

        value_and_grad = optax.value_and_grad_from_state(of_position)

        def step(carry, _):
            weights, state, evaluations = carry
            value, gradient = value_and_grad(weights, state=state)
            updates, state = solver.update(
                gradient, state, weights, value=value, grad=gradient, value_fn=of_position
            )
            evaluations += optax.tree.get(state, "num_linesearch_steps")
            return (optax.apply_updates(weights, updates), state, evaluations), None

        carry, _ = jax.lax.scan(step, (position, state, 0), length=CHUNK)
        return *carry, of_position(carry[0])

    def run(x, y, position, iterations) -> Trace:
        trace = Trace()
        state = solver.init(position)
        for _ in range(0, iterations, CHUNK):
            position, state, evaluations, value = chunk(position, state, x, y)
            trace.iterations += CHUNK
            trace.evaluations += int(evaluations)
            trace.note(float(value))
        trace.position = np.asarray(position)
        return trace

    return run


def optimistix_system(model, num_pairs: int) -> Callable:
    """optimistix.LBFGS, whose step is one evaluation and whose search backtracks."""
    import equinox
    import jax.numpy
    import optimistix

    loss = jax_loss(Objective(model).shapes)
    # Tolerances of 0: it never stops by itself.
    solver = optimistix.LBFGS(0.0, 0.0, history_length=num_pairs)

    def function(position, data):
        return loss(position, *data), None

    def init(position, data):
        shape = jax.ShapeDtypeStruct((), position.dtype)
        return solver.init(function, position, data, {}, shape, None, frozenset())

    @equinox.filter_jit
    def chunk(position, state, data):
        dynamic, static = equinox.partition(state, equinox.is_array)

        def step(carry, _):
            position, dynamic = carry
            state = equinox.combine(dynamic, static)
            position, state, _ = solver.step(
                function, position, data, {}, state, frozenset()
            )
            return (position, equinox.filter(state, equinox.is_array)), None

        (position, dynamic), _ = jax.lax.scan(step, (position, dynamic), length=CHUNK)
        return position, equinox.combine(dynamic, static), loss(position, *data)

    def run(x, y, position, iterations) -> Trace:
        trace = Trace()
        data = tuple(map(jax.numpy.asarray, (x, y)))
        position = jax.numpy.asarray(position)
        state = init(position, data)
        for _ in range(0, iterations, CHUNK):
            position, state, value = chunk(position, state, data)
            trace.note(float(value))
        accepted = int(state.num_accepted_steps)
        trace.iterations, trace.evaluations = accepted, iterations
        trace.position = np.asarray(position)
        return trace

    return run


def levenberg_marquardt_system(model, num_pairs: int) -> Callable:
    """Levenberg-Marquardt in the space of residuals, in JAX, a whole Jacobian an iteration.

    It has no memory of pairs.
    """
    del num_pairs
    import jax.numpy

    shapes = Objective(model).shapes
    loss, errors = jax_loss(shapes), jax_net(shapes)

    def error(position, x, y):
        return errors(position, x[None], y[None])[0]

    # A row of the Jacobian depends on one row of the data.
    rows = jax.vmap(jax.value_and_grad(error), (None, 0, 0))

    @jax.jit
    def step(position, damping, x, y):
        r, jacobian = (part / math.sqrt(len(x)) for part in rows(position, x, y))
        gram = jacobian @ jacobian.T + damping * jax.numpy.eye(len(r))
        after = position - jacobian.T @ jax.numpy.linalg.solve(gram, r)
        return after, loss(after, x, y)

    def run(x, y, position, iterations) -> Trace:
        trace = Trace()
        damping, value = 1e-3, float(loss(position, x, y))
        for _ in range(max(iterations // JACOBIANS, 1)):
            after, lower = step(position, damping, x, y)
            trace.iterations += 1
            trace.evaluations += 1
            if float(lower) < value:
                position, value, damping = after, float(lower), max(damping / 3.0, 1e-15)
            else:
                damping *= 4.0
            trace.note(value)
        trace.position = np.asarray(position)
        return trace

    return run


def torch_system(model, num_pairs: int) -> Callable:
    """torch.optim.LBFGS with its strong Wolfe line search."""
    import torch

    torch.set_num_threads(1)
    shapes = Objective(model).shapes

    def forward(parts, x):
        for layer in range(0, len(parts), 2):
            x = x @ parts[layer] + parts[layer + 1]
            x = torch.tanh(x) if layer < len(parts) - 2 else x
        return x

    def run(x, y, position, iterations) -> Trace:
        x, y = torch.tensor(x), torch.tensor(y)
        pieces = np.split(position, np.cumsum([math.prod(s) for s in shapes])[:-1])
        parts = [
            torch.tensor(piece.reshape(shape), requires_grad=True)
            for piece, shape in zip(pieces, shapes)
        ]
        solver = torch.optim.LBFGS(
            parts, max_iter=CHUNK, max_eval=10 * CHUNK, history_size=num_pairs,
            tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        trace = Trace()

        def closure():
            solver.zero_grad()
            value = TORCH_SCALE * torch.mean((forward(parts, x) - y) ** 2)
            value.backward()
            trace.evaluations += 1
            return value

        for _ in range(0, iterations, CHUNK):
            solver.step(closure)
            trace.iterations += CHUNK
            with torch.no_grad():
                trace.note(float(torch.mean((forward(parts, x) - y) ** 2)))
        trace.position = np.concatenate([part.detach().numpy().ravel() for part in parts])
        return trace

    return run


def deepxde_system(model, num_pairs: int) -> Callable:
    """DeepXDE on PyTorch, the better of its L-BFGS by its own documentation."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde
    import torch

    torch.set_num_threads(1)
    deepxde.config.set_default_float("float64")
    shapes = Objective(model).shapes
    widths = [shapes[0][0], *(shape[0] for shape in shapes[1::2])]

    class Note(deepxde.callbacks.Callback):
        def __init__(self, trace, x, y):
            super().__init__()
            self.trace, self.x, self.y = trace, torch.tensor(x), torch.tensor(y)

        def on_epoch_end(self):
            with torch.no_grad():
                error = self.model.net(self.x) - self.y
            self.trace.note(float(torch.mean(error**2)))

    def run(x, y, position, iterations) -> Trace:
        net = deepxde.nn.FNN(widths, ACTIVATION, "Glorot normal")
        _set_weights(net, position, shapes)
        data = deepxde.data.DataSet(X_train=x, y_train=y, X_test=x[:1], y_test=y[:1])
        deepxde.optimizers.set_LBFGS_options(
            maxcor=num_pairs, ftol=0, gtol=0, maxiter=iterations, maxfun=10 * iterations
        )
        solver = deepxde.Model(data, net)
        solver.compile("L-BFGS", loss_weights=[TORCH_SCALE], verbose=0)
        # As often as the others, instead of once in 1000 iterations.
        options = deepxde.optimizers.LBFGS_options
        options |= {"iter_per_step": CHUNK, "fun_per_step": 10 * CHUNK}
        solver.opt.param_groups[0] |= {"max_iter": CHUNK, "max_eval": 10 * CHUNK}
        trace = Trace()
        solver.train(
            display_every=10 * iterations, verbose=0, callbacks=[Note(trace, x, y)]
        )
        state = next(iter(solver.opt.state.values()))
        trace.iterations, trace.evaluations = state["n_iter"], state["func_evals"]
        trace.position = _weights(net)
        return trace

    return run


def _set_weights(net, position: np.ndarray, shapes: list[tuple]) -> None:
    import torch

    pieces = np.split(position, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    with torch.no_grad():
        for layer, kernel, bias in zip(net.linears, pieces[::2], pieces[1::2]):
            layer.weight.copy_(
                torch.tensor(kernel.reshape(layer.in_features, layer.out_features).T)
            )
            layer.bias.copy_(torch.tensor(bias))


def _weights(net) -> np.ndarray:
    parts = [
        part.detach().numpy().T.ravel()
        for layer in net.linears
        for part in (layer.weight, layer.bias)
    ]
    return np.concatenate(parts)


SYSTEMS = {
    "fit_lbfgs": lambda model, pairs: keras_system(model, "lbfgs", pairs),
    "TFP lbfgs_minimize": lambda model, pairs: keras_system(model, "tfp_lbfgs", pairs),
    "TFP bfgs_minimize": lambda model, pairs: keras_system(model, "tfp_bfgs", pairs),
    "SciPy L-BFGS-B over JAX": scipy_system,
    "optax.lbfgs": optax_system,
    "optimistix.LBFGS": optimistix_system,
    "Levenberg-Marquardt in JAX": levenberg_marquardt_system,
    "torch.optim.LBFGS": torch_system,
    "DeepXDE (PyTorch)": deepxde_system,
}


def measure(name: str, num_pairs: int, seeds: int, iterations: int) -> list[str]:
    """Returns the row of one system."""
    problem = problems.load_problem("gaussian")
    settings = Settings(activations=(ACTIVATION,))
    experiment = Experiment(settings, {problem.name: problem})
    model = experiment.network(ACTIVATION, Start(settings.main, 0))
    objective = Objective(model)
    before = time.process_time()
    run = SYSTEMS[name](model, num_pairs)
    x, y = (column[:, None] for column in problem.draw(0))
    run(x, y, objective.position.numpy(), 2 * CHUNK)
    latency = time.process_time() - before
    traces, errors = [], []
    for seed in range(seeds):
        x, y = (column[:, None] for column in problem.draw(seed))
        start = experiment.network(ACTIVATION, Start(settings.main, seed))
        traces.append(run(x, y, Objective(start).position.numpy(), iterations))
        objective.assign(tf.constant(traces[-1].position))
        d2y = np.ravel(derivatives(model, problem.x[:, None])[2])
        errors.append(np.mean((d2y - problem.exact[2]) ** 2))
    return _row(name, num_pairs, latency, traces, errors)


def _row(name, num_pairs, latency, traces, errors) -> list[str]:
    median = statistics.median
    return [
        name,
        str(num_pairs),
        f"{latency:.1f}",
        f"{latency + median(t.until(1e-9) for t in traces):.1f}",
        f"{1e3 * median(t.seconds[-1] / t.iterations for t in traces):.2f}",
        f"{median(t.evaluations / t.iterations for t in traces):.2f}",
        *(f"{median(t.until(level) for t in traces):.2f}" for level in LEVELS),
        f"{median(t.losses[-1] for t in traces):.1e}",
        f"{median(errors):.1e}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--pairs", type=int, nargs="+", default=[50, 300])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    arguments = parser.parse_args()
    columns = [
        "system", "pairs", "first call, s", "with it, s to MSE 1e-09", "ms an iteration", "evaluations an iteration",
        *(f"s to MSE {level:.0e}" for level in LEVELS), "median MSE", "median MSE of y''",
    ]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for name in arguments.systems:
        for num_pairs in arguments.pairs:
            try:
                row = measure(name, num_pairs, arguments.seeds, arguments.iterations)
            except ImportError as error:
                row = [name, str(num_pairs), f"not installed: {error.name}"]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
