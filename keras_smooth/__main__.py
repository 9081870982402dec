"""`python -m keras_smooth`."""

import sys

from keras_smooth.cli import main

sys.exit(main())
