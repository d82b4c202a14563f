"""What a report's numbers rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.records.record import Row


def provenance(gathered: Sequence[tuple[Mapping[str, Any], Sequence[Row], bool]]) -> dict[str, Any]:
    """What the numbers rest on: code, machine, data, fingerprints, claims as declared.

    ``gathered``: of each suite its plan, its rows, and whether its claims changed after the plan was made.
    """
    records = [r.record for _, rows, _ in gathered for r in rows if r.record]
    environments: list[dict[str, Any]] = []
    for record in records:
        if record.environment not in environments:
            environments.append(record.environment)
    modules: dict[str, set[str]] = {}
    for record in records:
        for module, value in record.fingerprint.items():
            modules.setdefault(module, set()).add(value)
    return {
        "environments": environments,
        "numerics_classes": dict(Counter(r.numerics_class for r in records)),
        "data": sorted({r.trial.data for r in records if r.trial.data}),
        "fingerprint": {m: sorted(v) for m, v in sorted(modules.items())},
        "claims": {
            plan["suite"]["name"]: {"hash": plan["claims_hash"], "changed after records exist": changed}
            for plan, _, changed in gathered
        },
        "trials": len({r.identity for r in records}),
        "status": dict(Counter(r.status for r in records)),
        "first": min((r.started for r in records), default=""),
        "last": max((r.started for r in records), default=""),
    }
