"""`python -m keras_smooth`: the command `keras-smooth`, except that TensorFlow is imported first."""

import sys

from keras_smooth.cli import main

sys.exit(main())
