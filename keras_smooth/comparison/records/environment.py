"""Versions of packages, and the machine, on which the results of a comparison depend."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from keras_smooth.comparison.options import METHODS
from keras_smooth.comparison.runs import training
from keras_smooth.comparison.settings import Settings

# Packages on which the results of every method depend.
PACKAGES = ("keras-smooth", "tensorflow", "keras", "numpy")


def environment(settings: Settings) -> dict:
    """Returns versions and the machine, for the report."""
    return {
        "python": platform.python_version(),
        **versions(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": settings.device_name(),
    }


def versions(methods: Iterable[str] = METHODS) -> dict[str, str]:
    """Returns the versions of the packages on which the results of these methods depend."""
    additional = {name for method in methods for name in training.packages(method)}
    return {name: version(name) for name in (*PACKAGES, *sorted(additional))}


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Returns a clause for each package of `here` whose version in `there` differs."""
    return [
        f"{name} is {there.get(name)} there, and {version} here"
        for name, version in here.items()
        if there.get(name) != version
    ]


def version(package: str) -> str:
    """Returns the version of the installed package, or the `__version__` of the module.

    TensorFlow is also installed as tensorflow-cpu or tf-nightly, and Keras as keras-nightly.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.import_module(package.replace("-", "_")).__version__


def activation_digests(settings: Settings) -> dict[str, str]:
    """Returns a hash of some values of each activation, which differs if the function differs."""
    # All values are one sample: a softmax of single values is constant, and Keras warns.
    x = tf.linspace(tf.constant([-3.0], "float64"), [3.0], 13, axis=1)
    digests = {}
    for name in settings.activations:
        # Rounded, since processors differ in the last digits.
        digits = [f"{value:.6g}" for value in np.ravel(settings.function(name)(x))]
        digests[name] = hashlib.sha256(" ".join(digits).encode()).hexdigest()
    return digests
