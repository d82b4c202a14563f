"""From stored rows, or the committed reference alone, to what the report shows. No torch."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.planning import suite as suites
from harness.planning.suite import Suite
from harness.records.frames import curves_frame, probes_frame, trials_frame
from harness.records.plans import load_rows, planned_profiles
from harness.records.record import Row
from harness.records.reference import read_reference
from harness.records.store import Store
from harness.report import words
from harness.report.numbers import count

FLIPS = {
    ("reproduced", "contradicted"),
    ("holds_at_reduced_scale", "fails_at_reduced_scale"),
}


@dataclass
class Gathered:
    """One suite's rows with what was planned, ready for estimators."""

    plan: dict[str, Any]
    rows: list[Row]
    claims: list[dict[str, Any]] = field(default_factory=list)
    changed_claims: bool = False
    """The suite's claims are other than when the records were planned."""


@dataclass
class Built:
    """A finished report."""

    folder: Path
    profile: str
    claims: list[dict[str, Any]]


def _names(store: Store, profile: str, names: Sequence[str], reference: bool) -> list[str]:
    if names and list(names) != ["all"]:
        return [Path(n).stem for n in names]
    if reference:
        found = sorted(p.stem for p in (store.root / "reference" / profile).glob("*.jsonl"))
    else:
        found = planned_profiles(store, profile)
    if not found:
        what = "committed reference" if reference else "run"
        raise HarnessError(
            f"{store.root}: no {what} at profile {profile!r}; run: harness run all profile={profile}"
        )
    return found


def collect(store: Store, profile: str, names: Sequence[str] = (), *, reference: bool = False) -> list[Gathered]:
    """Plans and rows of the suites run (or committed) at this profile, claims evaluated."""
    records = None if reference else store.load()
    out = []
    for name in _names(store, profile, names, reference):
        if reference:
            plan, rows = read_reference(store, name, profile)
        else:
            plan, rows = load_rows(store, name, profile, records)
        gathered = Gathered(plan, rows)
        _evaluate(gathered, profile)
        out.append(gathered)
    return out


def _current(plan: Mapping[str, Any]) -> Suite:
    """The suite as it stands now, or as it was planned where its file is gone."""
    planned = Suite.model_validate(plan["suite"])
    try:
        name = planned.name if planned.file.startswith("suites/") else planned.file
        return suites.load(name, planned.profile)
    except HarnessError:
        return planned


def _evaluate(gathered: Gathered, profile: str) -> None:
    from harness.analysis.claims import evaluate_claims, load_claims

    now = _current(gathered.plan)
    gathered.changed_claims = now.claims_hash != gathered.plan["claims_hash"]
    rows = [r for r in gathered.rows if r.record is not None]
    if not rows or not now.claims:
        return
    results = evaluate_claims(
        load_claims(now.claims, now.file),
        trials_frame(rows),
        probes=probes_frame(rows),
        curves=curves_frame(rows),
        profile=profile,
        corpus=_corpus(gathered.plan["suite"]),
    )
    scale = _scale(gathered)
    # One formatter of numbers: the report's.
    gathered.claims = [
        {**c, "sentence": words.sentence({**c, "sentence": ""}, scale)} for c in (r.as_dict() for r in results)
    ]


def _corpus(suite: Mapping[str, Any]) -> str:
    data = suite["base"].get("data", {"name": "python_sources"})
    return str(data.get("name") or Path(str(data.get("path", data.get("dataset", "")))).name).replace("_", " ")


def provenance(gathered: Sequence[Gathered]) -> dict[str, Any]:
    """What the numbers rest on: code, machine, data, fingerprints, claims as declared."""
    records = [r.record for g in gathered for r in g.rows if r.record]
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
            g.plan["suite"]["name"]: {
                "hash": g.plan["claims_hash"],
                "changed after records exist": g.changed_claims,
            }
            for g in gathered
        },
        "trials": len({r.identity for r in records}),
        "status": dict(Counter(r.status for r in records)),
        "first": min((r.started for r in records), default=""),
        "last": max((r.started for r in records), default=""),
    }


def _scale(gathered: Gathered) -> str:
    frame = trials_frame(gathered.rows)
    if frame.empty or "parameters" not in frame:
        return ""
    low, high = count(frame["parameters"].min()), count(frame["parameters"].max())
    return f"{low} to {high} non-embedding parameters, {_corpus(gathered.plan['suite'])}"


def scale_line(gathered: Gathered) -> str:
    """Parameters, corpus, sizes and seeds in a line."""
    frame = trials_frame(gathered.rows)
    if frame.empty or "parameters" not in frame:
        return ""
    suite = gathered.plan["suite"]
    evaluated = frame[frame["role"] == "evaluation"]
    axes = [a for a in suite.get("axes", {}) if a in evaluated]
    cells = len(evaluated[axes].drop_duplicates()) if axes else 1
    seeds = evaluated.groupby(["arm", *axes])["seed"].nunique() if not evaluated.empty else pd.Series([0])
    return f"{_scale(gathered)}, {cells} sizes x {int(seeds.median())} seeds, profile {suite['profile']}"


def report(
    results: Path, profile: str, names: Sequence[str] = (), *, reference: bool = False, folder: Path | None = None
) -> Built:
    """Build the report of a profile; returns where it lies and its claims."""
    from harness.analysis.comparison import noise_table
    from harness.report.build import build_report

    store = Store(results)
    gathered = collect(store, profile, names, reference=reference)
    rows = [r for g in gathered for r in g.rows]
    trials = trials_frame(rows)
    tables: dict[str, pd.DataFrame] = {}
    for g in gathered:
        name = g.plan["suite"]["name"]
        if g.plan["selections"]:
            tables[f"{name}_selections"] = pd.DataFrame(g.plan["selections"])
        own = trials_frame(g.rows)
        if not own.empty and "test_loss" in own:
            tables[f"{name}_noise"] = noise_table(own)
        timing = step_times(own)
        if not timing.empty:
            tables[f"{name}_step_times"] = timing
    claims = [c for g in gathered for c in g.claims]
    target = folder or store.reports / (f"{profile}-reference" if reference else profile)
    build_report(
        target,
        suites=[_shown(g, profile, reference) for g in gathered],
        trials=trials,
        curves=curves_frame(rows),
        probes=probes_frame(rows),
        claims=claims,
        provenance=provenance(gathered),
        tables=tables,
    )
    return Built(target, profile, claims)


def _shown(g: Gathered, profile: str, reference: bool) -> dict[str, Any]:
    suite = g.plan["suite"]
    flag = " --reference" if reference else ""
    return {
        **suite,
        "scale": scale_line(g),
        "notes": g.plan["notes"],
        "recompute": [f"harness run {suite['name']} profile={profile}", f"harness report profile={profile}{flag}"],
        "missing": sum(r.record is None for r in g.rows),
        "changed_claims": g.changed_claims,
    }


def step_times(trials: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds a training step by arm and size, from exclusive interleaved trials: median, least, most."""
    if trials.empty or "timing" not in set(trials["role"]):
        return pd.DataFrame()
    timing = trials[(trials["role"] == "timing") & (trials["status"] == "completed")].copy()
    timing["ms"] = 1e3 * timing["seconds_training"] / timing["steps"]
    axes = [c for c in ("size", "width") if c in timing]
    out = timing.groupby(["arm", *axes])["ms"].agg(["median", "min", "max", "count"]).reset_index()
    return out.rename(columns={c: f"ms_per_step_{c}" for c in ("median", "min", "max")})


# --- text --------------------------------------------------------------------------------------------------


def ledger_text(built: Built) -> str:
    """The ledger for a terminal."""
    if not built.claims:
        return "no claims"
    return "\n".join(c.get("sentence") or f"{c['id']}: {c.get('refused') or 'no verdict'}" for c in built.claims)


def strict_changes(built: Built, results: Path) -> list[str]:
    """Flips between holds and fails against the committed reference, and estimates that changed beyond both
    uncertainties."""
    from scipy.stats import norm

    store = Store(results)
    out = []
    try:
        reference = {c["id"]: c for g in collect(store, built.profile, reference=True) for c in g.claims}
    except HarnessError as error:
        raise HarnessError(f"--strict compares with the committed reference: {error}") from None
    for claim in built.claims:
        old = reference.get(claim["id"])
        if old is None:
            continue
        pair = (old["verdict"], claim["verdict"])
        if pair in FLIPS or pair[::-1] in FLIPS:
            out.append(f"{claim['id']}: {pair[0]} -> {pair[1]}")
        elif old["ci95"] and claim["ci95"] and old["estimate"] is not None and claim["estimate"] is not None:
            halves = [(c["ci95"][1] - c["ci95"][0]) / 2 / norm.ppf(0.975) for c in (old, claim)]
            change = claim["estimate"] - old["estimate"]
            if abs(change) > norm.ppf(0.975) * math.hypot(*halves) > 0:
                out.append(
                    f"{claim['id']}: estimate {old['estimate']:.4g} -> {claim['estimate']:.4g}, "
                    "beyond both uncertainties"
                )
    return out


def read_report(folder: Path) -> dict[str, Any]:
    """report.json as data."""
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
