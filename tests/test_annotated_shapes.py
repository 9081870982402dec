"""The shapes in annotations of jets and minimizers are those that calls have."""

import pytest
import scripts


@pytest.mark.slow
def test_calls_have_the_shapes_of_their_annotations():
    for name in ("jaxtyping", "beartype"):
        pytest.importorskip(name)
    assert scripts.printed("annotated_shapes.py") == {"refuses": True}
