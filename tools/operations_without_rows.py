"""Lists kinds of operations in keras.applications and KerasHub without a row or rule in the table.

    python tools/operations_without_rows.py

Each model is traced with random weights, in inference and in training mode. Operations on paths
from its floating inputs to its outputs are counted. KerasHub is optional.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.traces import Traces

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import audits  # noqa: E402


def kinds(model: keras.Model, training: bool) -> Counter:
    """Returns the number of operations of each kind on paths from inputs to outputs."""
    x = audits.inputs(model)
    flat = keras.tree.flatten(x)
    indices = tuple(i for i, leaf in enumerate(flat) if leaf.dtype.is_floating)
    points = Points(x=x, places=indices or tuple(range(len(flat))), single=False)
    traces = Traces(model, training)
    on_paths = operations.on_paths(traces.at(points).program, traces.moving(points))
    # Operations without floating outputs, such as comparisons, have no derivatives.
    return Counter(
        operation.type
        for operation in on_paths
        if any(output.dtype.is_floating for output in operation.outputs)
    )


def main() -> None:
    known, without_row, without_rule = set(), defaultdict(set), defaultdict(set)
    number = 0
    for name, make in audits.makers().items():
        keras.backend.clear_session()
        model = audits.made(make, "float32")
        found = kinds(model, False) + kinds(model, True)
        number += 1
        for kind in found:
            row = operations.row(kind)
            if row is None:
                without_row[kind].add(name)
            elif row.jet is None and row.control_flow is None:
                without_rule[kind].add(name)
            else:
                known.add(kind)
        print(f"{name}: {len(found)} kinds, {sum(found.values())} operations", flush=True)
    print(f"\n{number} models, {len(known)} kinds with a rule for jets.")
    for title, table in (("No row", without_row), ("A row, no rule", without_rule)):
        print(f"{title}: {len(table)}")
        for kind, names in sorted(table.items()):
            print(f"  {kind}: {', '.join(sorted(names))}")
    rows = [row for row in operations.all_rows() if row.jet or row.control_flow]
    print(f"The table has {len(rows)} kinds with a rule for jets ({tf.__version__}).")


if __name__ == "__main__":
    main()
