"""Runs the main functions of the package with the installed versions.

    python tools/smoke.py

tools/version_matrix.py runs this script in each environment, without tf_keras.
"""

import subprocess
import sys
import tempfile

import keras
import numpy as np

import keras_smooth


def main() -> None:
    """Fits, audits, differentiates and compares, and raises an error if a result is wrong."""
    x = np.linspace(-1.0, 1.0, 21)[:, None]
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    model.add(keras_smooth.Dense(8, "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    model.compile(loss="mse")
    history = keras_smooth.fit_lbfgs(model, x, np.sin(x), epochs=200, verbose=0)
    assert history.result.fun < 1e-6, history.result

    found = keras_smooth.audit(model, x)
    assert found.outcome == "proven", str(found)

    values = keras_smooth.derivatives(model, x, verify=True)
    assert np.abs(values[2] + np.sin(x)).max() < 0.1

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "keras_smooth", "compare", "--quick"]
        subprocess.run([*command, "--out", f"{folder}/out"], check=True)


if __name__ == "__main__":
    main()
