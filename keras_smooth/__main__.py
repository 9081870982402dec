"""`python -m keras_smooth`: as the command `keras-smooth`, but it imports TensorFlow first."""

import sys

from keras_smooth.cli import main

sys.exit(main())
