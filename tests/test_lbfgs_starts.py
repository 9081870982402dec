"""Checkpoints of `fit_lbfgs` belong to the start of a run; those of 0.1.0 can be read."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from lbfgs_nets import Y, at_start, fit, net
from representatives import representatives

from keras_smooth.lbfgs.run import checkpoint


class RaiseAtEpoch(keras.callbacks.Callback):
    """Raises an error at the end of an epoch, before the checkpoint is written."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise MemoryError


def run(model, checkpoint=None, **arguments):
    arguments = {"epochs": 12, "steps_per_execution": 3, **arguments}
    return fit(model, checkpoint=checkpoint, **arguments)


# Checkpoints of runs from another start.


def from_seed(seed):
    model = at_start()
    start = keras.initializers.GlorotUniform(seed=seed)
    model.layers[0].kernel.assign(start((2, 3)))
    return model


def net_with_other_bias(change):
    """Returns a net with one different initial weight."""
    model = at_start()
    model.layers[1].bias.assign([change])
    return model


def trained_elsewhere():
    model = at_start()
    run(model, epochs=2)
    return model


STARTS = {
    "seed": lambda: from_seed(7),
    "a digit": lambda: net_with_other_bias(1e-16),
    "trained": trained_elsewhere,
    "in the float64 copy": None,
}


@pytest.mark.parametrize(
    "name", representatives(STARTS, ["a digit", "in the float64 copy"])
)
def test_run_from_another_start_raises(name, tmp_path):
    arguments = {}
    make, make_other = at_start, STARTS[name]
    if name == "in the float64 copy":
        make, arguments = (lambda: net(dtype="float32")), {"dtype": "float64"}

        def make_other():
            model = make()
            model.layers[1].bias.assign([1e-6])
            return model

    run(make(), tmp_path, epochs=3, **arguments)
    model = make_other()
    weights = model.get_weights()
    with pytest.raises(ValueError, match="from another start.*each seed of a loop"):
        run(model, tmp_path, **arguments)
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_seeds_with_a_directory_each_are_separate_runs(tmp_path):
    results = {}
    for seed in (3, 4):
        run(from_seed(seed), tmp_path / str(seed), epochs=3)
        results[seed] = run(from_seed(seed), tmp_path / str(seed), epochs=3).result.fun
    assert results[3] != results[4]


@pytest.mark.parametrize("dtype", representatives(["float64", "float32"], ["float64"]))
def test_run_resumes_from_its_start_its_end_and_its_interruption(dtype, tmp_path):
    def make():
        return net(dtype=dtype)

    arguments = {"dtype": "float64"}
    expected = make()
    run(expected, **arguments)
    model = make()
    with pytest.raises(MemoryError):
        run(model, tmp_path, callbacks=[RaiseAtEpoch(8)], **arguments)
    run(model, tmp_path, epochs=9, **arguments)  # at the interruption
    run(model, tmp_path, epochs=10, **arguments)  # at its end
    other = make()
    other.set_weights(model.get_weights())
    run(other, tmp_path, epochs=11, **arguments)  # of another process, at its end
    last = make()
    run(last, tmp_path, **arguments)  # at its start
    assert last.history.result == expected.history.result


# Checkpoints of version 0.1.0.

OLD_CHECKPOINTS = Path(__file__).parent / "data" / "checkpoints_0.1.0"
# The results of the three iterations of version 0.1.0.
OLD_LOSSES = {
    "lbfgs": [0.040162668825701665, 0.02593285829578316, 0.015060642645842903],
    "tfp_lbfgs": [0.03793071217013157, 0.024712460177643364, 0.012431579513771138],
    "bfgs": [0.03793071217013157, 0.02471246017764337, 0.012480187903821754],
}


@pytest.mark.parametrize(
    ("method", "current"),
    [
        ("lbfgs", "lbfgs"),
        pytest.param("tfp_lbfgs", "tfp_lbfgs", marks=pytest.mark.slow),
        ("bfgs", "bfgs"),
        # In 0.1.0, "bfgs" was the method of TFP.
        pytest.param("bfgs", "tfp_bfgs", marks=pytest.mark.slow),
    ],
)
def test_checkpoint_of_version_0_1_0_resumes_with_empty_memory(method, current, tmp_path):
    shutil.copytree(OLD_CHECKPOINTS / method, tmp_path / method)
    model = net()
    arguments = {"epochs": 6, "steps_per_execution": 1, "checkpoint": tmp_path / method}
    arguments["method"] = current
    with pytest.warns(UserWarning, match="of an older version.*empty memory"):
        history = fit(model, **arguments)
    losses = history.history["loss"]
    assert history.epoch == [0, 1, 2, 3, 4, 5] and history.result.nit == 6
    assert losses[:3] == pytest.approx(OLD_LOSSES[method], rel=1e-12)
    assert losses[5] < losses[2]
    # The new checkpoint has the current format, and its start.
    resumed = fit(model, **arguments)
    assert resumed.history == history.history
    with pytest.raises(ValueError, match=": data of it"):
        fit(net(), y=Y + 1.0, **arguments)


def test_checkpoint_of_format_2_resumes_with_empty_memory(tmp_path, monkeypatch):
    """Weights and history are restored from format 2, whose matrix had no separate updates."""
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    arguments = {"steps_per_execution": 1, "checkpoint": tmp_path}
    before = fit(net(), epochs=3, num_correction_pairs=4, **arguments)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="of an older version.*empty memory"):
        history = fit(net(), epochs=6, **arguments)
    assert history.history["loss"][:3] == before.history["loss"]
    assert history.result.nit == 6 and history.result.fun < before.result.fun
