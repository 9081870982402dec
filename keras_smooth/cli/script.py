"""The command `keras-smooth`. This file is installed as the module `keras_smooth_command`.

Python runs the `__init__.py` of a package before its modules, and that of keras_smooth imports
TensorFlow. Therefore this module registers the package without running it, and then imports
`keras_smooth.cli`. The `__init__.py` runs when a command needs it.
"""

import importlib.util
import sys
from collections.abc import Callable


def main() -> int:
    """Runs the command line and returns the exit status."""
    run_package = _registered_package("keras_smooth")
    from keras_smooth import cli

    return cli.main(before=run_package)


def _registered_package(name: str) -> Callable[[], None]:
    """Registers a package for `import`, and returns a function that runs its `__init__`."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is not installed.")
    package, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = package
    return lambda: loader.exec_module(package)
