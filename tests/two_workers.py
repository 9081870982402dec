"""One of two workers, which runs the script of docs/several_devices.md and more fits.

    python tests/two_workers.py DIRECTORY

with TF_CONFIG set, in a working directory that both share; prints a JSON line.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

DOC = Path(__file__).parent.parent / "docs" / "several_devices.md"
script = re.search(r"<!-- script -->\n```python\n(.*?)```", DOC.read_text(), re.DOTALL)[1]
exec(compile(script, DOC.name, "exec"))
# The script has defined strategy, model, x, y and history, and has imported these modules.
keras, keras_smooth, np, tf = (globals()[n] for n in ("keras", "keras_smooth", "np", "tf"))
strategy, model, x, y, history = (
    globals()[n] for n in ("strategy", "model", "x", "y", "history")
)
worker = strategy.cluster_resolver.task_id


def fit(*data, **arguments):
    arguments = {"epochs": 8, "steps_per_execution": 4, "verbose": 0, **arguments}
    return keras_smooth.fit_lbfgs(model, *(data or (x, y)), **arguments)


def weights():
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def error(*data, **arguments):
    try:
        fit(*data, **arguments)
    except ValueError as exception:
        return str(exception)


def stop(epoch, logs):
    model.stop_training = worker == 1


report = {"fun": history.result.fun, "weights": weights()}
start = [
    weight
    for layer in model.layers
    for weight in (
        layer.kernel_initializer(layer.kernel.shape, "float64"),
        np.zeros(layer.units),
    )
]
model.set_weights(start)
again = fit(epochs=100, steps_per_execution=None, checkpoint="checkpoints")
report["again"] = weights() == report["weights"] and again.history == history.history
report["late"] = fit(max_seconds=0.0 if worker == 1 else None).result.status
stopping = keras.callbacks.LambdaCallback(on_epoch_end=stop)
stopped = fit(callbacks=[stopping]).result
report["stopped"] = [stopped.status, stopped.nit]
report["other data"] = error(x, y + worker)
report["other checkpoint"] = error(checkpoint=f"checkpoints{worker or ''}", epochs=100)
with strategy.scope():
    model.compile(loss="mse", metrics=["mae"])
stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(100)
logs = fit(stream, batch_size=300, validation_data=(x[:5], y[:5])).history
report["logs"] = {name: values[-1] for name, values in logs.items()}
report["at the end"] = weights()
Path(sys.argv[1], f"{worker}.json").write_text(json.dumps(report))
