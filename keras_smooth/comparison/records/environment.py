"""Versions and the machine, on which the numbers of a comparison depend."""

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

# Packages on which the numbers of every method depend.
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
    """Returns the versions of the packages that the numbers of some methods depend on."""
    more = {name for method in methods for name in training.packages(method)}
    return {name: version(name) for name in (*PACKAGES, *sorted(more))}


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Returns which packages have other versions elsewhere than here."""
    return [
        f"{name} is {there.get(name)} there, and {version} here"
        for name, version in here.items()
        if there.get(name) != version
    ]


def version(package: str) -> str:
    """Returns a version by the name that is installed, or by what the module says.

    TensorFlow is installed as tensorflow-cpu or tf-nightly, too, and Keras as keras-nightly.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.import_module(package.replace("-", "_")).__version__


def activation_digests(settings: Settings) -> dict[str, str]:
    """Returns a hash of some values of each activation, to tell functions of a name apart."""
    # As one point: a softmax of single values is no function of them, and Keras warns.
    x = tf.linspace(tf.constant([-3.0], "float64"), [3.0], 13, axis=1)
    digests = {}
    for name in settings.activations:
        # Rounded, since processors differ in the last digits.
        digits = [f"{value:.6g}" for value in np.ravel(settings.function(name)(x))]
        digests[name] = hashlib.sha256(" ".join(digits).encode()).hexdigest()
    return digests
