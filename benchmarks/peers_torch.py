"""torch.optim.LBFGS and DeepXDE, for benchmarks/lbfgs.py."""

import math
import os
from collections.abc import Callable

os.environ["DDE_BACKEND"] = "pytorch"

import numpy as np
import torch
from peers_trace import CHUNK, Trace

from keras_smooth.lbfgs.objective.objective import Objective

torch.set_num_threads(1)
# torch.optim.LBFGS has absolute thresholds: it drops pairs with s . y below 1e-10 and ends
# line searches at steps below 1e-9. With the loss as it is it stalls at 6e-8.
SCALE = 1e6


def torch_system(model, num_pairs: int) -> Callable:
    """torch.optim.LBFGS with its strong Wolfe line search."""
    shapes = Objective(model).shapes

    def forward(parts, x):
        for layer in range(0, len(parts), 2):
            x = x @ parts[layer] + parts[layer + 1]
            x = torch.tanh(x) if layer < len(parts) - 2 else x
        return x

    def run(x, y, position, trace: Trace) -> None:
        x, y = torch.tensor(x), torch.tensor(y)
        parts = [
            torch.tensor(piece.reshape(shape), requires_grad=True)
            for piece, shape in zip(_pieces(position, shapes), shapes)
        ]
        solver = torch.optim.LBFGS(
            parts, max_iter=CHUNK, max_eval=10 * CHUNK, history_size=num_pairs,
            tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure():
            solver.zero_grad()
            value = SCALE * torch.mean((forward(parts, x) - y) ** 2)
            value.backward()
            trace.evaluations += 1
            return value

        def weights():
            return np.concatenate([part.detach().numpy().ravel() for part in parts])

        while not trace.is_over:
            solver.step(closure)
            trace.iterations += CHUNK
            with torch.no_grad():
                trace.note(float(torch.mean((forward(parts, x) - y) ** 2)), weights)

    return run


def deepxde_system(model, num_pairs: int) -> Callable:
    """DeepXDE on PyTorch, the better of its L-BFGS by its own documentation."""
    import deepxde

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
            state = next(iter(self.model.opt.state.values()))
            self.trace.iterations = state["n_iter"]
            self.trace.evaluations = state["func_evals"]
            self.trace.note(float(torch.mean(error**2)), lambda: _weights(self.model.net))
            self.model.stop_training = self.trace.is_over

    def run(x, y, position, trace: Trace) -> None:
        net = deepxde.nn.FNN(widths, "tanh", "Glorot normal")
        _set_weights(net, position, shapes)
        data = deepxde.data.DataSet(X_train=x, y_train=y, X_test=x[:1], y_test=y[:1])
        most = 10**6
        deepxde.optimizers.set_LBFGS_options(
            maxcor=num_pairs, ftol=0, gtol=0, maxiter=most, maxfun=10 * most
        )
        solver = deepxde.Model(data, net)
        solver.compile("L-BFGS", loss_weights=[SCALE], verbose=0)
        # As often as the others, instead of once in 1000 iterations.
        options = deepxde.optimizers.LBFGS_options
        options |= {"iter_per_step": CHUNK, "fun_per_step": 10 * CHUNK}
        solver.opt.param_groups[0] |= {"max_iter": CHUNK, "max_eval": 10 * CHUNK}
        solver.train(display_every=10 * most, verbose=0, callbacks=[Note(trace, x, y)])

    return run


def _pieces(position: np.ndarray, shapes: list[tuple]) -> list[np.ndarray]:
    return np.split(position, np.cumsum([math.prod(shape) for shape in shapes])[:-1])


def _set_weights(net, position: np.ndarray, shapes: list[tuple]) -> None:
    pieces = _pieces(position, shapes)
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
