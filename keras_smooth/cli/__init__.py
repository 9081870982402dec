"""The command line: `keras-smooth compare` and `keras-smooth audit`.

script.py        what is installed beside the package, so that TensorFlow is not imported
running.py       arguments in, exit status out
parser.py        the arguments, and what is wrong with them
completion.py    how shells complete them
commands.py      what the commands do; imports TensorFlow

Whatever is not commands.py imports nothing that imports TensorFlow: help and errors come at once.
"""

from keras_smooth.cli.running import main

__all__ = ["main"]
