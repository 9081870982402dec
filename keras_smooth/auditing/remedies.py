"""What to do about each verdict."""

import keras

from keras_smooth import layers, registry
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.models import graph, references
from keras_smooth.smoothing import is_replaced


def of(part: keras.Operation, verdict: str, order: int = 2) -> str:
    """Returns the advice for a layer or model with a verdict, empty if all is well."""
    if not VERDICTS[verdict].is_fault or verdict == "imprecise":
        return VERDICTS[verdict].remedy
    if graph.is_graph(part):
        helps = any(_is_changed(inner, order) for _, inner in graph.unique(part))
        return "keras_smooth.smoothen(model)" if helps else VERDICTS[verdict].remedy
    exact = layers.exact_form(type(part))
    if exact is not type(part) and verdict != "rough":
        return f"keras_smooth.layers.{exact.__name__}"
    if registry.tapes_right_to(part) < order and verdict != "rough":
        return 'engine="auto" or "jet" has it right'
    if smooth := layers.SMOOTH_FORMS.get(type(part)):
        return f"keras_smooth.layers.{smooth.__name__}, or keras_smooth.smoothen"
    within = _of_layers_within(part) if verdict != "rough" else ""
    return within or _of_functions(part, order) or VERDICTS[verdict].remedy


def _of_layers_within(part: keras.Operation) -> str:
    """Returns the advice for a part that is made of layers with an exact form, else nothing."""
    kinds = {type(each) for each in references.parts_within(part)[1:]}
    exact = {kind.__name__: layers.exact_form(kind) for kind in kinds}
    names = sorted(name for name, form in exact.items() if form not in kinds)
    return "; ".join(
        f"build it with keras_smooth.layers.{exact[name].__name__} in the place of its {name}"
        for name in names
    )


def _is_changed(part: keras.Operation, order: int) -> bool:
    """Returns whether smoothen puts something else in the place of a part."""
    return layers.exact_form(type(part)) is not type(part) or is_replaced(part, order)


def _of_functions(part: keras.Operation, order: int) -> str:
    """Returns the advice for a part whose activations are at fault, else nothing."""
    smoothen = "keras_smooth.smoothen" if is_replaced(part, order) else ""
    if not references.functions(part, "activation"):
        return smoothen
    smooth = f"take a smooth activation ({', '.join(registry.recommended(order))})"
    return f"{smooth}, or {smoothen}" if smoothen else smooth
