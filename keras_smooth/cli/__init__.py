"""The command line: `keras-smooth compare` and `keras-smooth audit`.

script.py        the entry point next to the package, which does not import TensorFlow
running.py       arguments in, exit status out; completion by the templates in shells/
parser.py        the arguments and their checks
commands.py      what the commands do; imports TensorFlow

Only commands.py imports TensorFlow, so that help and errors are shown at once.
"""

from keras_smooth.cli.running import main
