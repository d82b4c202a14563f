"""The needed trials of a plan: each planned once, however many trials read its artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.planning.resolve import Resolved
from harness.planning.states import Item, unreadable


@dataclass
class _Shared:
    """A needed trial and those that read it, as far as planned."""

    item: Item
    cell: dict[str, Any]
    """What the cells of all its readers have in common: what it may depend on."""
    waiting: int = 0


class NeededTrials:
    """Collects what the trials of a plan need. ``judge`` gives the item of a needed trial: (name, resolved)."""

    def __init__(self, judge: Callable[[str, Resolved], Item]):
        self.judge = judge
        self._shared: dict[str, _Shared] = {}

    def of(self, resolved: Resolved, cell: Mapping[str, Any]) -> dict[str, Item]:
        """Name -> item of each trial that this one needs, planned now if they were not before."""
        out = {}
        for name, need in resolved.needs.items():
            shared = self._shared.get(need.trial.identity)
            if shared is None:
                shared = self._shared[need.trial.identity] = _Shared(self.judge(name, need), dict(cell))
            shared.cell = {k: v for k, v in shared.cell.items() if k in cell and cell[k] == v}
            out[name] = shared.item
        return out

    def wait(self, item: Item) -> None:
        """Note that this item waits for what it needs."""
        for need in item.needs.values():
            self._shared[need.planned.trial.identity].waiting += bool(unreadable(need))

    def items(self) -> list[Item]:
        """The needed trials, labelled with the part of the cell that their readers share."""
        return [
            replace(s.item, planned=s.item.planned.model_copy(update={"cell": s.cell}))
            for s in self._shared.values()
        ]

    def notes(self) -> list[str]:
        """A line for each needed trial that will not be there by running what is pending for the first time."""
        return [
            f"needed trial {s.item.planned.arm!r}"
            + "".join(f", {k} {v}" for k, v in s.cell.items())
            + f" {unreadable(s.item)}; {s.waiting} trials wait for it"
            for s in self._shared.values()
            if s.waiting and s.item.state in ("failed", "done")
        ]
