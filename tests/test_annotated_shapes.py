"""Calls of jets and minimizers have the shapes of their annotations."""

import pytest
import scripts


@pytest.mark.slow
def test_calls_have_the_annotated_shapes():
    for name in ("jaxtyping", "beartype"):
        pytest.importorskip(name)
    assert scripts.printed("annotated_shapes.py") == {"refuses": True}
