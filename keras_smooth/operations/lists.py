"""Lists of tensors, as loops keep them, that hold jets."""

import dataclasses
from typing import Any

from keras_smooth.jet import Jet


@dataclasses.dataclass(frozen=True)
class JetList:
    """A list of tensors with, for each entry of a jet, the list of these entries.

    Args:
        primal: The list.
        series: Lists, for each order.
        like: Any jet along the same curves.
    """

    primal: Any
    series: tuple
    like: Jet
