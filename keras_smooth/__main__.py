"""`python -m keras_smooth`: the command `keras-smooth`, after importing TensorFlow."""

import sys

from keras_smooth.cli import main

sys.exit(main())
