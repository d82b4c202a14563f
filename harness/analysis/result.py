"""One claim answered: what report.json says of it, in the contract's order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.analysis import verdicts
from harness.analysis.claim import Claim
from harness.analysis.estimate import Estimate
from harness.analysis.scope import Reach
from harness.analysis.verdicts import Resolution, Verdict

CLAIM_FIELDS = (
    "id",
    "suite",
    "says",
    "source",
    "kind",
    "expects",
    "estimate",
    "ci95",
    "df",
    "p_holm",
    "num_sizes",
    "num_seeds",
    "num_trials",
    "seed_sd",
    "profile",
    "scope",
    "scale_factor",
    "verdict",
    "minimum_detectable_effect",
    "estimators_agree",
    "registration",
    "inside_region",
)
"""Fields of every claim in report.json, in this order; further ones follow."""


@dataclass(kw_only=True)
class ClaimResult:
    """One claim answered, or refused with the reason and the cure."""

    claim: Claim
    suite: str
    profile: str
    reach: Reach
    estimate: Estimate | None = None
    p_hold: float | None = None
    p_fail: float | None = None
    p_holm: float | None = None
    alpha: float = verdicts.LEVEL
    """Two-sided level of the interval: 5 %, or what a sequential look spends."""
    resolution: Resolution | None = None
    verdict: Verdict | None = None
    refused: str | None = None
    resolved_before_correction: bool = False
    depends_on: str = ""
    """The analysis choice that the verdict would hang on; then it is unresolved."""
    detectable: verdicts.Detectable | None = None
    detectable_refused: str = ""
    compared: dict[str, Any] | None = None
    """Against the published value."""
    margin: dict[str, Any] | None = None
    """The equivalence margin in nats and as compute, declared and measured."""
    tuned: dict[str, Any] = field(default_factory=dict)
    """Arm -> hyperparameters searched, selection seeds and trials; arms that this suite did not tune are absent."""
    registration: list[str] | None = None
    """Hashes of the entries that the claim's records ran under; empty for a record under none."""
    notes: list[str] = field(default_factory=list)

    def interval(self, index: int = 0) -> tuple[float, float] | None:
        """The plain interval of a part, on the displayed scale."""
        return None if self.estimate is None else self.estimate.interval(index, self.alpha)

    def worst(self) -> int:
        """Index of the part that decides: the one least in the region."""
        e, r = self.estimate, self.claim.expects
        if e is None or r is None or len(e.parts) == 1:
            return 0
        low, high = r.bounds(e.scale)
        return int(np.argmax([verdicts.part_p(p, low, high)[0] for p in e.parts]))

    def inside_region(self) -> bool | None:
        """Whether what was measured lies in the claimed region, every part; None without a number or a region."""
        if self.estimate is None or self.claim.expects is None:
            return None
        return verdicts.side(self.estimate, self.claim.expects)

    def no_verdict_reason(self) -> str | None:
        """Why there is no verdict: refused, smoke, or descriptive; None where there is one."""
        if self.verdict is not None:
            return None
        return self.refused or "descriptive"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields of report.json (:data:`CLAIM_FIELDS`), then further ones."""
        found = self._values() | self._part_values() | self._estimate_values()
        return plain({name: found.pop(name) for name in CLAIM_FIELDS} | found)

    def _values(self) -> dict[str, Any]:
        c, reach = self.claim, self.reach
        return {
            "id": c.id,
            "suite": self.suite,
            "says": c.says,
            "source": c.source,
            "kind": c.kind,
            "expects": c.expects.text() if c.expects else None,
            "p_holm": self.p_holm,
            "profile": self.profile,
            "scope": reach.scope,
            "scale_factor": reach.factor,
            "verdict": self.verdict,
            "minimum_detectable_effect": self.detectable.effect if self.detectable else None,
            "registration": self.registration,
            "inside_region": self.inside_region(),
            "no_verdict_reason": self.no_verdict_reason(),
            "place": c.place,
            "confirmatory": c.confirmatory,
            "estimator": c.estimator,
            "resolution": self.resolution,
            "p_hold": self.p_hold,
            "p_fail": self.p_fail,
            "interval_level": 1 - self.alpha,
            "published": self.compared or (c.published.model_dump() if c.published else None),
            "made_at": c.made_at.model_dump(),
            "ran_at": reach.ran_at,
            "short_of_published": reach.short_of,
            "numerics_classes": reach.numerics_classes,
            "tuned": self.tuned,
            "margin": self.margin,
            "refused": self.refused,
            "resolved_before_correction": self.resolved_before_correction,
            "depends_on": self.depends_on,
            "detectable": self.detectable.as_dict() if self.detectable else None,
            "detectable_refused": self.detectable_refused,
        }

    def _part_values(self) -> dict[str, Any]:
        """Of the part that decides."""
        e, w = self.estimate, self.worst()
        if e is None:
            return {"estimate": None, "ci95": None, "se": None, "df": None, "part": ""}
        part = e.parts[w]
        # A ratio's error as shown, to first order; exact values in `ci95`.
        value = e.shown(part.value)
        slope = {"linear": 1.0, "log": value, "logit": value * (1 - value)}[e.scale]
        return {
            "estimate": value,
            "ci95": self.interval(w),
            "se": part.se * slope if part.se > 0 else None,
            "df": part.df,
            "part": part.label,
        }

    def _estimate_values(self) -> dict[str, Any]:
        e, c = self.estimate, self.claim
        notes = [*([c.note] if c.note else []), *self.notes, *(e.notes if e else [])]
        if e is None:
            counts = dict.fromkeys(("num_sizes", "num_seeds", "num_trials", "seed_sd", "estimators_agree"))
            lists: dict[str, Any] = {"parts": [], "table": [], "forms": [], "identities": []}
            return {**counts, "validation_error": None, "unit": "", "scale": "linear", "notes": notes, **lists}
        return {
            "num_sizes": e.num_sizes,
            "num_seeds": e.num_seeds,
            "num_trials": e.num_trials,
            "seed_sd": e.seed_sd,
            "estimators_agree": e.estimators_agree,
            "validation_error": e.validation_error,
            "unit": e.unit,
            "scale": e.scale,
            "notes": notes,
            "parts": [
                {"label": p.label, "estimate": e.shown(p.value), "ci95": self.interval(i), "df": p.df}
                for i, p in enumerate(e.parts if len(e.parts) > 1 else ())
            ],
            "table": e.table,
            "forms": e.forms,
            "identities": sorted(set(e.identities)),
        }


def plain(value: Any) -> Any:
    """JSON values only: numpy scalars unwrapped, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
