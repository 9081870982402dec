"""The user's modules, which are sent to machines that do not have them."""

import importlib
import json
import pickle
import subprocess
import sys

import cloudpickle
import pytest

from keras_smooth.comparison.executors import own_modules

# Files of the user, the module whose function `f` returns 42, and the modules that it needs.
CASES = {
    "a module alone": ({"mine.py": "def f(): return 42"}, "mine", {"mine"}),
    "one beside it": (
        {"mine.py": "import helper\ndef f(): return helper.g()", "helper.py": "def g(): return 42"},
        "mine", {"mine", "helper"},
    ),
    "names from one that imports another": (
        {
            "mine.py": "from helper import g\ndef f(): return g()",
            "helper.py": "import constants\ndef g(): return constants.X",
            "constants.py": "X = 42",
        },
        "mine", {"mine", "helper", "constants"},
    ),
    "imported when it is called": (
        {"mine.py": "def f():\n    from helper import g\n    return g()", "helper.py": "def g(): return 42"},
        "mine", {"mine", "helper"},
    ),
    "a package": (
        {
            "mine/__init__.py": "from .part import f", "mine/part.py": "from . import deep\ndef f(): return deep.low.X",
            "mine/deep/__init__.py": "from . import low", "mine/deep/low.py": "X = 42",
        },
        "mine", {"mine", "mine.part", "mine.deep", "mine.deep.low"},
    ),
    "a package without __init__": (
        {"mine/part.py": "from mine import other\ndef f(): return other.X", "mine/other.py": "X = 42"},
        "mine.part", {"mine", "mine.part", "mine.other"},
    ),
    "what cannot be pickled": (
        {"mine.py": "import helper\ndef f(): return helper.X", "helper.py": "import threading\nL = threading.Lock()\nX = 42"},
        "mine", {"mine", "helper"},
    ),
    "another encoding": (
        {"mine.py": "# -*- coding: latin-1 -*-\ndef f(): return len('\u00e9') * 42"}, "mine", {"mine"},
    ),
}  # fmt: skip

# The module needs Python alone: its packages are registered and not run, which would import
# TensorFlow.
REGISTER_PACKAGES = """
import importlib.util, pickle, sys
for name in ("keras_smooth", "keras_smooth.comparison.executors"):
    sys.modules[name] = importlib.util.module_from_spec(importlib.util.find_spec(name))
"""
RUN_RECEIVED = (
    REGISTER_PACKAGES
    + """
from keras_smooth.comparison.executors import own_modules
for sent in pickle.load(sys.stdin.buffer):
    sources, function = pickle.loads(sent)
    own_modules.install(sources)
    print(pickle.loads(function)())
"""
)


@pytest.fixture
def send_case(tmp_path, monkeypatch):
    """A function that returns the sources and the pickled function of a case."""

    def send(name):
        texts, module, _ = CASES[name]
        folder = tmp_path / name.replace(" ", "_")
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="latin-1")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            loaded_before = set(sys.modules)
            function = importlib.import_module(module).f
            assert function() == 42
            content = cloudpickle.dumps(function)
            sources = own_modules.sources_for(content)
            for loaded_module in set(sys.modules) - loaded_before:
                del sys.modules[loaded_module]
        return sources, content

    return send


@pytest.mark.parametrize("name", CASES)
def test_sources_are_those_of_all_imported_modules_of_the_user(send_case, name):
    assert set(send_case(name)[0]) == CASES[name][2]


@pytest.mark.parametrize(
    "function", [json.dumps, cloudpickle.dumps, importlib.import_module]
)
def test_installed_packages_are_not_sent(function):
    assert own_modules.sources_for(cloudpickle.dumps(function)) == {}


SCRIPT = (
    REGISTER_PACKAGES
    + """
import cloudpickle, helper
from keras_smooth.comparison.executors import own_modules

def f():
    return helper.X

content = cloudpickle.dumps(f)
sys.stdout.buffer.write(pickle.dumps((own_modules.sources_for(content), content)))
"""
)
# A script, and text, as in a notebook.
PROGRAMS = {"a script": ["program.py"], "text": ["-c", SCRIPT]}


def sent_by_a_program(folder, command):
    """Returns what a program sends whose function uses a module beside it."""
    (folder / "helper.py").write_text("X = 42")
    (folder / "program.py").write_text(SCRIPT)
    process = subprocess.run(
        [sys.executable, *command], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    return process.stdout


def test_functions_run_in_a_process_without_their_modules(send_case, tmp_path):
    # All in one process, with the same module names: each function uses its own modules.
    sent = {name: pickle.dumps(send_case(name)) for name in CASES}
    sent |= {
        name: sent_by_a_program(tmp_path, command) for name, command in PROGRAMS.items()
    }
    process = subprocess.run(
        [sys.executable, "-c", RUN_RECEIVED],
        input=pickle.dumps([*sent.values()]),
        stdout=subprocess.PIPE,
        check=True,
    )
    printed = dict(zip(sent, process.stdout.decode().split()))
    assert printed == dict.fromkeys(sent, "42")
