"""One operator of one library, as its users write it: see operators.py.

    python benchmarks/operators_worker.py LIBRARY OPERATOR NETWORK.npz

Prints the values, the seconds of the first call and the memory as a line of JSON, and after that
the CPU seconds of a run for each line that it reads.
"""

import importlib.metadata
import itertools
import json
import resource
import sys
import time

import numpy as np


def in_tensorflow(library, operator, layers):
    import keras
    import partials
    import tensorflow as tf

    import keras_smooth

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    dim = len(layers[0][0])
    model = keras.Sequential([keras.Input((dim,), dtype="float64")])
    for kernel, _ in layers[:-1]:
        model.add(keras_smooth.Dense(kernel.shape[1], "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(layers[-1][0].shape[1], dtype="float64"))
    model.set_weights(list(itertools.chain(*layers)))

    terms, biharmonic = partials.terms(model), partials.biharmonic(model)

    def laplacian_by_tapes(x):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = model(x)
            gradient = inner.gradient(y, x)
            slopes = tf.unstack(gradient, axis=1)
        second = [outer.gradient(slope, x)[:, i] for i, slope in enumerate(slopes)]
        return gradient, tf.add_n(second)[:, None]

    def divergence_by_tapes(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        return tf.linalg.trace(tape.batch_jacobian(y, x))[:, None]

    functions = {
        ("keras_smooth", "laplacian"): lambda x: (
            keras_smooth.gradient(model, x), keras_smooth.laplacian(model, x)),
        ("keras_smooth", "biharmonic"): biharmonic["biharmonic"],
        ("keras_smooth", "partials"): terms["partials"],
        ("keras_smooth", "divergence"): lambda x: keras_smooth.divergence(model, x),
        ("nested tapes", "laplacian"): laplacian_by_tapes,
        ("nested tapes", "biharmonic"): biharmonic["nested tapes"],
        ("nested tapes", "partials"): terms["nested tapes"],
        ("nested tapes", "divergence"): divergence_by_tapes,
    }  # fmt: skip
    compiled = tf.function(functions[library, operator], autograph=False, jit_compile=True)
    version = f"TensorFlow {tf.__version__}"
    return lambda x: [y.numpy() for y in tf.nest.flatten(compiled(x))], tf.constant, version


def in_jax(library, operator, layers):
    import jax
    from jax import numpy

    jax.config.update("jax_enable_x64", True)
    layers = [(numpy.asarray(kernel), numpy.asarray(bias)) for kernel, bias in layers]
    dim = len(layers[0][0])
    axes = numpy.eye(dim)

    def vector(x):
        for kernel, bias in layers[:-1]:
            x = numpy.tanh(x @ kernel + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def scalar(x):
        return vector(x)[0]

    def laplacian(function, x):
        slope = jax.grad(function)
        along = jax.vmap(lambda v: v @ jax.jvp(slope, (x,), (v,))[1])
        return numpy.sum(along(axes))

    def jets(x, directions, order):
        """Returns y and for each direction the derivatives up to an order along it."""
        from jax.experimental.jet import jet

        def along(v):
            series = [v] + [numpy.zeros_like(v)] * (order - 1)
            return jet(scalar, (x,), (series,))

        return jax.vmap(along)(directions)

    def partials(x):
        def u(x, t):
            return scalar(numpy.stack([x, t]))

        x, t = x
        u_x = jax.grad(u)
        u_xx = jax.grad(u_x)
        return (
            u(x, t),
            jax.grad(u, 1)(x, t),
            u_x(x, t),
            u_xx(x, t),
            jax.grad(u_x, 1)(x, t),
            jax.grad(jax.grad(u_xx))(x, t),
        )

    def partials_by_jets(x):
        y, (first, second, _, fourth) = jets(x, numpy.array([[1.0, 0], [0, 1], [1, 1]]), 4)
        mixed = (second[2] - second[0] - second[1]) / 2
        return y[0], first[1], first[0], second[0], mixed, fourth[0]

    def biharmonic_by_jets(x):
        """By fourth derivatives along the axes and the sums and differences of pairs."""
        pairs = [
            axes[i] + sign * axes[j]
            for i, j in itertools.combinations(range(dim), 2)
            for sign in (1, -1)
        ]
        fourth = jets(x, numpy.stack([*axes, *pairs]), 4)[1][3]
        return ((4 - dim) / 3) * numpy.sum(fourth[:dim]) + numpy.sum(fourth[dim:]) / 6

    def laplacian_by_jets(x):
        _, (first, second) = jets(x, axes, 2)
        return first, numpy.sum(second)

    def laplacian_by_folx(x):
        import folx

        result = folx.forward_laplacian(scalar)(x)
        return result.jacobian.dense_array, result.laplacian

    functions = {
        ("JAX nested", "laplacian"): lambda x: (jax.grad(scalar)(x), laplacian(scalar, x)),
        ("JAX nested", "biharmonic"): lambda x: laplacian(
            lambda x: laplacian(scalar, x), x
        ),
        ("JAX nested", "partials"): partials,
        ("JAX nested", "divergence"): lambda x: numpy.trace(jax.jacfwd(vector)(x)),
        ("jax.experimental.jet", "laplacian"): laplacian_by_jets,
        ("jax.experimental.jet", "biharmonic"): biharmonic_by_jets,
        ("jax.experimental.jet", "partials"): partials_by_jets,
        ("folx", "laplacian"): laplacian_by_folx,
    }
    compiled = jax.jit(jax.vmap(functions[library, operator]))
    name = "folx" if library == "folx" else "jax"
    version = f"{name} {importlib.metadata.version(name)}"
    return (
        lambda x: [np.asarray(y) for y in jax.tree.leaves(compiled(x))],
        numpy.asarray,
        version,
    )


def in_torch(library, operator, layers):
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dim = len(layers[0][0])
    linear = []
    for kernel, bias in layers:
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data = torch.tensor(kernel.T.copy())
        layer.bias.data = torch.tensor(bias)
        layer.requires_grad_(False)
        linear += [layer, torch.nn.Tanh()]
    network = torch.nn.Sequential(*linear[:-1])

    if library == "DeepXDE":
        return _in_deepxde(operator, network, dim)
    from torch.func import grad, hessian, jacfwd, vmap

    def scalar(x):
        return network(x)[0]

    def laplacian(function):
        return lambda x: torch.trace(hessian(function)(x))

    def partials(x):
        def u(x, t):
            return scalar(torch.stack([x, t]))

        x, t = x
        u_x = grad(u)
        u_xx = grad(u_x)
        return (
            u(x, t), grad(u, 1)(x, t), u_x(x, t), u_xx(x, t), grad(u_x, 1)(x, t),
            grad(grad(u_xx))(x, t),
        )  # fmt: skip

    if library == "torch-jet":
        import jet.bilaplacian
        import jet.laplacian
        from jet.simplify import simplify

        origin = torch.zeros(dim)
        make = {
            "laplacian": jet.laplacian.laplacian,
            "biharmonic": jet.bilaplacian.bilaplacian,
        }
        function = simplify(make[operator](network, origin), origin)
        function = {
            "laplacian": lambda x, f=function: f(x)[1:],
            "biharmonic": function,
        }[operator]
        version = "torch-jet f3db443"
    else:
        function = {
            "laplacian": lambda x: (grad(scalar)(x), laplacian(scalar)(x)),
            "biharmonic": laplacian(laplacian(scalar)),
            "partials": partials,
            "divergence": lambda x: torch.trace(jacfwd(network)(x)),
        }[operator]
        version = f"torch {torch.__version__}"
    batched = vmap(function)

    def run(x):
        values = batched(x)
        return [y.numpy() for y in (values if isinstance(values, tuple) else (values,))]

    return run, torch.tensor, version


def _in_deepxde(operator, network, dim):
    import deepxde
    import torch

    hessian, jacobian = deepxde.grad.hessian, deepxde.grad.jacobian

    def laplacian(y, x):
        return sum(hessian(y, x, i=i, j=i) for i in range(dim))

    def partials(y, x):
        u_xx = hessian(y, x, i=0, j=0)
        return (
            y, jacobian(y, x, i=0, j=1), jacobian(y, x, i=0, j=0), u_xx,
            hessian(y, x, i=0, j=1), hessian(u_xx, x, i=0, j=0),
        )  # fmt: skip

    functions = {
        "laplacian": lambda y, x: (jacobian(y, x, i=0), laplacian(y, x)),
        "biharmonic": lambda y, x: (laplacian(laplacian(y, x), x),),
        "partials": partials,
        "divergence": lambda y, x: (sum(jacobian(y, x, i=i, j=i) for i in range(dim)),),
    }

    def run(x):
        deepxde.gradients.clear()
        x = x.clone().requires_grad_()
        return [y.detach().numpy() for y in functions[operator](network(x), x)]

    return run, torch.tensor, f"DeepXDE {importlib.metadata.version('deepxde')}"


LIBRARIES = {
    "keras_smooth": in_tensorflow,
    "nested tapes": in_tensorflow,
    "JAX nested": in_jax,
    "jax.experimental.jet": in_jax,
    "folx": in_jax,
    "torch.func": in_torch,
    "torch-jet": in_torch,
    "DeepXDE": in_torch,
}


def peak():
    """Returns the peak of the memory so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(library, operator, file):
    arrays = dict(np.load(file))
    points = arrays.pop("points")
    layers = [(arrays[f"kernel_{i}"], arrays[f"bias_{i}"]) for i in range(len(arrays) // 2)]
    try:
        run, tensor, version = LIBRARIES[library](library, operator, layers)
        x, before = tensor(points), peak()
        start = time.process_time()
        values = run(x)
    except KeyError:
        print(json.dumps({"error": "it has no such operator"}), flush=True)
        return
    # What a library cannot is a row that is left out, with its reason on stderr.
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        return
    first = {
        "seconds": time.process_time() - start,
        "values": np.concatenate([np.ravel(y) for y in values]).tolist(),
        "version": version,
    }
    run(x)
    print(json.dumps(first | {"MB": peak() - before}), flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        run(x)
        print(json.dumps({"seconds": time.process_time() - start}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
