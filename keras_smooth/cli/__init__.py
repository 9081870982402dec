"""The command line: `keras-smooth compare` and `keras-smooth audit`.

script.py        the entry point next to the package, which does not import TensorFlow
running.py       `main`: runs a command and returns the exit status; renders the scripts in shells/
parser.py        the arguments and their checks
commands.py      the functions of the commands, which import TensorFlow

Only commands.py imports TensorFlow, so that help and errors are shown at once.
"""

from keras_smooth.cli.running import main
