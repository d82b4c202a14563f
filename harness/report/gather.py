"""From stored rows, or the committed reference alone, to what the report shows. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from harness.data.corpus import open_corpus
from harness.errors import DataError, HarnessError
from harness.planning import compose as suites
from harness.planning.hydra import SUFFIXES
from harness.planning.judging import judge
from harness.planning.registering import registrations
from harness.planning.registration import NO_VERDICT, Registrations, history_of
from harness.planning.suite import Suite
from harness.records.frames import curves_frame, probes_frame, tables_frame, trials_frame
from harness.records.plans import key_of, load_rows, planned_profiles, profiles_run
from harness.records.record import Row
from harness.records.reference import read_reference, reference_store
from harness.records.store import Store
from harness.report import words
from harness.report.frames import axes_of
from harness.report.labels import Labels, listed
from harness.report.provenance import provenance
from harness.report.results import step_times
from harness.report.sections import labels_of
from harness.workload import workload_module

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
    figures: list[dict[str, Any]] = field(default_factory=list)
    """What the suite draws as it stands now: a figure shows records and changes none."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Superseded ledgers, see :func:`harness.planning.registration.history_of`."""
    held_out: str = ""
    """What of the held-out data stands in the train split too, in words."""


@dataclass
class Built:
    """A finished report."""

    folder: Path
    profile: str
    claims: list[dict[str, Any]]


def _names(store: Store, profile: str, names: Sequence[str], reference: bool) -> list[str]:
    if names and list(names) != ["all"]:
        return [_key(store, n, profile, reference) for n in names]
    if reference:
        found = sorted(p.stem for p in (store.root / "reference" / profile).glob("*.jsonl"))
    else:
        found = planned_profiles(store, profile)
    if not found:
        there = profiles_run(store)
        hint = f"run here: {', '.join(there)}" if there else "nothing has been run here"
        raise HarnessError(
            f"{store.root}: no run at profile {profile!r} ({hint}); run: harness run all profile={profile}"
        )
    return found


def _key(store: Store, name: str, profile: str, reference: bool) -> str:
    """What a suite's plan or reference is stored under: of a file, two of one name are told apart."""
    if Path(name).suffix not in SUFFIXES:
        return name if reference else key_of(store, name, profile)
    return suites.load(name, profile).key


def collect(store: Store, profile: str, names: Sequence[str] = (), *, reference: bool = False) -> list[Gathered]:
    """Plans and rows of the suites run (or committed) at this profile, claims evaluated."""
    records = None if reference else store.load()
    known = registrations(store, committed_only=reference)
    out = []
    for name in _names(store, profile, names, reference):
        if reference:
            plan, rows = read_reference(store, name, profile)
        else:
            plan, rows = load_rows(store, name, profile, records)
        gathered = Gathered(plan, rows)
        gathered.held_out = words.held_out_text(plan.get("data") or corpora_of(rows, store))
        _evaluate(gathered, known)
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


def _evaluate(gathered: Gathered, known: Registrations) -> None:
    now = _current(gathered.plan)
    gathered.changed_claims = now.claims_hash != gathered.plan["claims_hash"]
    gathered.figures = [dict(f) for f in now.figures]
    gathered.history = history_of(known.chain(now.key, now.profile))
    results = judge(now, gathered.rows, known.accepted(now))
    if not results:
        return
    rows = [r for r in gathered.rows if r.record is not None]
    suite = gathered.plan["suite"]
    trials, labels, corpus = trials_frame(rows), labels_of(suite), corpus_of(rows, suite)
    for found in (r.as_dict() for r in results):
        models, tuning = _models(found, trials, labels, corpus), words.tuned_text(found["tuned"], labels)
        claim = {**found, "models": models, "tuning": tuning, "held_out": gathered.held_out}
        gathered.claims.append({**claim, "sentence": words.sentence(claim)})


def _models(claim: Mapping[str, Any], trials: pd.DataFrame, labels: Labels, corpus: str) -> str:
    """Models and corpus of the trials that a claim rests on, in words; empty where it rests on none."""
    used = trials[trials["identity"].isin(claim.get("identities") or [])]
    return words.scale_text(used, labels, corpus) if len(used) else ""


def corpora_of(rows: Sequence[Row], store: Store) -> list[dict[str, Any]]:
    """Of each corpus that these trials read and that lies here: its name, and which shares stand in train, too."""
    out = []
    for digest in sorted({r.planned.trial.data for r in rows} - {""}):
        try:
            meta = open_corpus(store.data, digest).meta
        except DataError:
            continue
        if shares := (meta.get("about") or {}).get("also_in_train"):
            out.append({"name": str(meta.get("name", "")).replace("_", " "), **shares})
    return out


def corpus_of(rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """Names of the data that these trials read, as suite and workloads say; empty where they read none.

    An identified trial keeps its data's digest alone: where they come from, its suite's base and arm say.
    """
    found = []
    for row in {_source(r): r for r in rows}.values():
        trial = row.planned.trial
        arm = (suite.get("arms") or {}).get(row.planned.arm) or {}
        given = {**((suite.get("base") or {}).get("data") or {}), **(arm.get("data") or {})}
        config = {**trial.config, "data": given} if given else trial.config
        module = workload_module(trial.workload)
        try:
            spec = module.data_spec(module.Config.model_validate(config))
        except ValidationError:
            # A config of other code: what it read is in its digest, under a name that nobody can tell.
            continue
        name = str((spec or {}).get("name") or Path(str((spec or {}).get("path") or "")).name)
        found += [name.replace("_", " ")] if name else []
    return listed(dict.fromkeys(found)) if found else ""


def _source(row: Row) -> tuple[str, str, str]:
    """What tells apart from where trials read."""
    trial = row.planned.trial
    return trial.workload, row.planned.arm, f"{trial.data} {trial.config.get('data')}"


def scale_line(gathered: Gathered) -> str:
    """Models, corpus, sizes and seeds in a line."""
    frame = trials_frame(gathered.rows)
    if frame.empty:
        return ""
    suite = gathered.plan["suite"]
    rows = [r for r in gathered.rows if r.record is not None]
    parts = [
        words.scale_text(frame, labels_of(suite), corpus_of(rows, suite)),
        words.sizes_text(frame, axes_of(suite, frame)),
        f"profile {suite['profile']}",
    ]
    return ", ".join(p for p in parts if p)


def report(
    results: Path, profile: str, names: Sequence[str] = (), *, reference: bool = False, folder: Path | None = None
) -> Built:
    """Build the report of a profile; returns where it lies and its claims.

    ``reference``: from the committed records alone, of this results folder or of those that come with the source.
    Raises HarnessError naming the profiles that were run.
    """
    from harness.analysis.noise import noise_table
    from harness.report.build import build_report

    store = reference_store(results, profile) if reference else Store(results)
    gathered = collect(store, profile, names, reference=reference)
    rows = [r for g in gathered for r in g.rows]
    trials = trials_frame(rows)
    tables: dict[str, pd.DataFrame] = {}
    for g in gathered:
        name = g.plan["suite"]["name"]
        if g.plan["selections"]:
            tables[f"{name}_selections"] = pd.DataFrame(g.plan["selections"])
        own = trials_frame(g.rows)
        main = next((m for m in labels_of(g.plan["suite"]).shown() if m in own), None)
        if main is not None:
            tables[f"{name}_noise"] = noise_table(own, main, by=axes_of(g.plan["suite"], own))
        timing = step_times(own, axes_of(g.plan["suite"], own))
        if not timing.empty:
            tables[f"{name}_step_times"] = timing
    claims = [c for g in gathered for c in g.claims]
    target = folder or Store(results).reports / (f"{profile}-reference" if reference else profile)
    build_report(
        target,
        suites=[_shown(g, profile, reference) for g in gathered],
        trials=trials,
        curves=curves_frame(rows),
        probes=probes_frame(rows),
        claims=claims,
        provenance=provenance([(g.plan, g.rows, g.changed_claims) for g in gathered]),
        tables=tables,
        record_tables=tables_frame(rows),
    )
    return Built(target, profile, claims)


def _shown(g: Gathered, profile: str, reference: bool) -> dict[str, Any]:
    suite = g.plan["suite"]
    flag = " --reference" if reference else ""
    return {
        **suite,
        "figures": g.figures,
        "scale": scale_line(g),
        "held_out": g.held_out,
        "statistics": _statistics(g.rows),
        "history": g.history,
        "notes": g.plan["notes"],
        "recompute": [f"harness run {suite['name']} profile={profile}", f"harness report profile={profile}{flag}"],
        "missing": sum(r.record is None for r in g.rows),
        "changed_claims": g.changed_claims,
    }


def _statistics(rows: Sequence[Row]) -> dict[str, str]:
    """What the values of probes' columns are, as their tables say."""
    tables = (t for r in rows if r.record for t in r.record.probes.values())
    return {name: str(said) for t in tables for name, said in t.about.get("statistics", {}).items()}


# --- text --------------------------------------------------------------------------------------------------


def ledger_text(built: Built) -> str:
    """The ledger for a terminal."""
    if not built.claims:
        return "no claims"
    return "\n".join(c.get("sentence") or f"{c['id']}: {c.get('refused') or 'no verdict'}" for c in built.claims)


def console_text(built: Built) -> str:
    """What the terminal says of a report: its ledger; of a profile that gives no verdicts, what was estimated."""
    if built.profile in NO_VERDICT and built.claims:
        return "\n".join(words.plumbing_text(built.claims))
    return ledger_text(built)


def strict_changes(built: Built, results: Path) -> list[str]:
    """Flips between holds and fails against the committed reference, and estimates that changed beyond both
    uncertainties."""
    from scipy.stats import norm

    out = []
    try:
        store = reference_store(results, built.profile)
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
