"""The nodes of a Ray cluster, and those of them that cannot do the runs."""

import collections
from typing import Any

# So often in a row a node may fail before its first run: once may be the fault of a moment.
MOST_FAULTS = 1


class Nodes:
    """Which nodes of a cluster work.

    Args:
        ray: The module.
        kind: The resource that a run takes one of, "CPU" or "GPU".

    Attributes:
        left_out: Why nodes are left out, by their ids.
    """

    def __init__(self, ray: Any, kind: str) -> None:
        self.left_out: dict[str, str] = {}
        self._ray = ray
        self._kind = kind
        self._num_faults: collections.Counter[str] = collections.Counter()

    def note(self, node: str, fault: str) -> bool:
        """Notes what a node lacks, if anything; returns whether it is left out from now on."""
        self._num_faults[node] = self._num_faults[node] + 1 if fault else 0
        is_new = self._num_faults[node] > MOST_FAULTS and node not in self.left_out
        if is_new:
            self.left_out[node] = fault
        return is_new

    def num_places(self) -> int:
        """Returns how many runs the nodes that are not left out can do at once."""
        return sum(
            int(one["Resources"].get(self._kind, 0))
            for one in self._alive()
            if one["NodeID"] not in self.left_out
        )

    def name(self, node: str) -> str:
        """Returns what people call a node."""
        names = {one["NodeID"]: one["NodeManagerHostname"] for one in self._ray.nodes()}
        return f"{names.get(node, 'unknown')} ({node[:8]})"

    def strategy(self) -> Any:
        """Returns a scheduling strategy: anywhere, but not on nodes that are left out."""
        # As long as there is no reason for another: clusters grow with what waits for these.
        if not self.left_out:
            return "DEFAULT"
        strategies = self._ray.util.scheduling_strategies
        # The label of its own id, whose name has changed between versions of Ray.
        (label,) = {
            name
            for one in self._alive()
            for name, value in one["Labels"].items()
            if value == one["NodeID"]
        }
        return strategies.NodeLabelSchedulingStrategy(
            {label: strategies.NotIn(*self.left_out)}
        )

    def _alive(self) -> list[dict[str, Any]]:
        return [one for one in self._ray.nodes() if one["Alive"]]
