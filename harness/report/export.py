"""report.json: the report as data, at full precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import numbers
from harness.analysis.claims import CLAIM_FIELDS
from harness.report import words
from harness.report.content import Report, Section, ShownFigure


def as_json(report: Report) -> dict[str, Any]:
    """Summary, claims, files of figures and tables, provenance; NaN is null."""
    return {
        "profile": report.profile,
        "summary": report.summary,
        "counts": words.tally(report.claims),
        "claims": [_claim(c) for c in report.claims],
        "suites": [_suite(s) for s in report.sections],
        "provenance": clean(report.provenance),
    }


def _claim(claim: Mapping[str, Any]) -> Any:
    fields = {name: claim.get(name) for name in CLAIM_FIELDS}
    fields |= {k: v for k, v in claim.items() if k not in CLAIM_FIELDS}
    return clean({**fields, "badge": words.badge(claim).text})


def _suite(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "question": section.question,
        "answer": section.answer,
        "scale": section.scale,
        "figures": [_figure(f) for f in section.figures],
        "tables": [f"tables/{t.name}.csv" for t in section.tables],
        "recompute": list(section.commands),
        "superseded": [
            {"design": d.name, "reason": d.reason, "ledger": [_claim(c) for c in d.claims]} for d in section.designs
        ],
    }


def _figure(figure: ShownFigure) -> dict[str, str]:
    if figure.missing:
        return {"kind": figure.kind, "missing": figure.missing}
    files = {what: f"figures/{figure.stem}.{what}" for what in ("svg", "png")}
    return {"kind": figure.kind, "alt": figure.alt, "data": f"figures/{figure.stem}.csv", **files}


def clean(value: Any) -> Any:
    """The value as JSON holds it: no NaN, no infinities, no numpy types, keys as text."""
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return [clean(v) for v in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if numbers.is_finite(value) else None
    return str(value)
