"""`python -m keras_smooth`: the command `keras-smooth`, which here imports TensorFlow first."""

import sys

from keras_smooth.cli import main

sys.exit(main())
