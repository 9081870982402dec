"""What to do about each verdict."""

import keras

from keras_smooth import layers, registry
from keras_smooth.models import graph

_SMOOTH = "take a smooth activation ({names}), or keras_smooth.smoothen"
_BY_VERDICT = {
    "ok": "",
    "unknown": "pass x, or hold its derivatives against differences yourself",
    "imprecise": "let it compute in the dtype of the model, or in float32 or float64",
    "rough": "its pieces do not join smoothly: take another function",
    "zero": "leave it out where derivatives are needed",
    "none": "leave it out where derivatives are needed",
    "raises": "replace it by operations that have gradients",
    "nan": "keep its inputs away from the point, or guard root and division with where",
    "wrong": "replace it: something on its way stops gradients",
}


def of(part: keras.Operation, verdict: str) -> str:
    """Returns the advice for a layer or model with a verdict, empty if all is well."""
    if verdict in ("ok", "unknown"):
        return _BY_VERDICT[verdict]
    if verdict == "imprecise":
        return _BY_VERDICT[verdict]
    if graph.is_graph(part):
        return "keras_smooth.smoothen(model)"
    exact = layers.exact_form(type(part))
    if exact is not type(part) and verdict != "rough":
        return f"keras_smooth.layers.{exact.__name__}"
    if smooth := layers.SMOOTH_FORMS.get(type(part)):
        return f"keras_smooth.layers.{smooth.__name__}, or keras_smooth.smoothen"
    if _has_pieces(part):
        return _SMOOTH.format(names=", ".join(registry.recommended()))
    return _BY_VERDICT[verdict]


def _has_pieces(part: keras.Operation) -> bool:
    pieces = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
    return isinstance(part, pieces) or callable(getattr(part, "activation", None))
