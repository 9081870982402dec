"""Lists of jets, as loops use them."""

import dataclasses
from typing import Any

from keras_smooth.jet import Jet


@dataclasses.dataclass(frozen=True)
class JetList:
    """A list of tensors, with a list of derivatives for each order.

    Args:
        primal: The list.
        series: Lists, for each order.
        like: Any jet along the same curves.
    """

    primal: Any
    series: tuple
    like: Jet
