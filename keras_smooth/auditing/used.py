"""What a model uses: its layers, or the layers of one that is used by a method of its own."""

from collections.abc import Iterator

import keras

from keras_smooth.models import calls, graph, references

Parts = list[tuple[str, keras.Operation]]
Recorded = dict[int, list[calls.Call]]


def parts(model: keras.layers.Layer, args: tuple) -> tuple[Parts, Recorded]:
    """Returns the parts of a model with their paths, and the calls of each by id.

    A layer without calls may be used by a method, as a network by `network.velocity(x)`: the
    layers in it that are called come in its place. The code of the method is the model's.
    """
    found = graph.unique(model)
    recorded = _recorded(model, [part for _, part in found], args)
    idle = [part for _, part in found if not recorded[id(part)]]
    within = [inner for part in idle for inner in references.parts_within(part)[1:]]
    if not within:
        return found, recorded
    recorded = _recorded(model, [*(part for _, part in found), *within], args)
    opened = [each for path, part in found for each in _opened(path, part, recorded)]
    return list({id(part): (path, part) for path, part in opened}.values()), recorded


def _recorded(model: keras.layers.Layer, watched: list, args: tuple) -> Recorded:
    return calls.record(
        model, list({id(part): part for part in [model, *watched]}.values()), args
    )


def _opened(path: str, part: keras.Operation, recorded: Recorded) -> Iterator:
    """Yields a part, or the called ones in it if it is not called itself."""
    called = list(_called_within(path, part, recorded, set()))
    yield from called or [(path, part)]


def _called_within(
    path: str, part: keras.Operation, recorded: Recorded, seen: set[int]
) -> Iterator:
    if id(part) in seen:
        return
    seen.add(id(part))
    if recorded.get(id(part)):
        yield path, part
        return
    for inner in references.held(part):
        for place, each in graph.walk(inner, f"{path}/"):
            yield from _called_within(place, each, recorded, seen)
