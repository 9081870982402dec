"""On a GPU: derivatives, audit, fit_lbfgs and compare agree with the CPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth.comparison.settings import Settings

pytestmark = pytest.mark.gpu

GPU, CPU = "GPU:0", "CPU:0"
X = np.linspace(-2.0, 2.0, 200)[:, None]
Y = np.exp(-(X**2))


def network(device, activation="tanh"):
    """Returns a network in float64 with the same weights on every device."""
    with tf.device(device):
        model = keras.Sequential([keras.Input((1,), dtype="float64")])
        for seed, units in enumerate((10, 10, 1)):
            model.add(
                keras_smooth.Dense(
                    units,
                    activation if units > 1 else None,
                    order=0,
                    dtype="float64",
                    kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
                )
            )
        model.compile(loss=keras.losses.MeanSquaredError(dtype="float64"))
    return model


def on_both(function, activation="tanh"):
    """Returns the results of a function of a model on the GPU and on the CPU."""
    results = []
    for device in (GPU, CPU):
        with tf.device(device):
            results.append(function(network(device, activation)))
    return results


@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("compiled", [False, True])
def test_derivatives_agree_with_cpu(engine, compiled):
    def compute(model):
        def function(x):
            return keras_smooth.derivatives(model, x, engine=engine)

        if compiled:
            function = tf.function(function, jit_compile=True, autograph=False)
        return function(tf.constant(X))

    on_gpu, on_cpu = on_both(compute)
    assert len(on_gpu) == 3 and all(GPU in value.device for value in on_gpu)
    for gpu_values, cpu_values in zip(on_gpu, on_cpu):
        # Rounding of float64, in numbers of about 1.
        np.testing.assert_allclose(gpu_values, cpu_values, atol=1e-12)


def test_derivatives_are_verified():
    for values in on_both(lambda model: keras_smooth.derivatives(model, X, verify=True)):
        assert values.verification


@pytest.mark.parametrize(
    ("activation", "outcome"), [("tanh", "proven"), ("relu", "faulty")]
)
def test_audit_agrees_with_cpu(activation, outcome):
    on_gpu, on_cpu = on_both(keras_smooth.audit, activation)
    assert on_gpu.outcome == on_cpu.outcome == outcome
    verdicts = [[row.verdict for row in report.rows] for report in (on_gpu, on_cpu)]
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("batch_size", [None, 50])
def test_fit_lbfgs_agrees_with_cpu(batch_size):
    def losses(model):
        history = keras_smooth.fit_lbfgs(
            model, X, Y, epochs=20, batch_size=batch_size, verbose=0
        )
        assert not history.result.failed and history.result.nit == 20
        return history.history["loss"]

    on_gpu, on_cpu = on_both(losses)
    # Rounding grows with every iteration, but below a percent in twenty of float64.
    np.testing.assert_allclose(on_gpu[:3], on_cpu[:3], rtol=1e-10)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2)


def test_fit_lbfgs_resumes_bit_for_bit(tmp_path):
    options = {"epochs": 20, "steps_per_execution": 5, "verbose": 0}
    with tf.device(GPU):
        uninterrupted = keras_smooth.fit_lbfgs(network(GPU), X, Y, **options)
        options["checkpoint"] = tmp_path / "run"
        keras_smooth.fit_lbfgs(network(GPU), X, Y, **{**options, "epochs": 10})
        resumed = keras_smooth.fit_lbfgs(network(GPU), X, Y, **options)
    assert resumed.history["loss"][-1] == uninterrupted.history["loss"][-1]


@pytest.mark.parametrize("jobs", [None, 1])
def test_compare_agrees_with_cpu(jobs):
    options = {"seeds": 2, "epochs": 20, "architecture": "2x10", "beside": ["adam"]}
    on_gpu, on_cpu = (
        keras_smooth.compare(["tanh", "relu"], device=device, jobs=jobs, **options)
        for device in ("auto", "cpu")
    )
    assert Settings().device_name() == GPU
    assert not on_gpu.failures and len(on_gpu.runs) == 4
    for gpu_run, cpu_run in zip(on_gpu.runs, on_cpu.runs):
        if gpu_run.activation == "tanh":  # A kink amplifies rounding.
            assert gpu_run.loss == pytest.approx(cpu_run.loss, rel=1e-2)
            assert gpu_run.d2y_mse == pytest.approx(cpu_run.d2y_mse, rel=1e-2)
