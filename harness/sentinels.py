"""The regression gate's trials: a few of a committed reference, run again by the code as it stands.

Of each arm the smallest and a middle size, one seed. Where bits differ from what is committed, or from what another
commit gives on this machine, up to three paired seeds of that arm decide.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness import sources
from harness.analysis.gate import Judgement, Pair, decisive, judge
from harness.environment import cpu_slots
from harness.errors import HarnessError
from harness.execution.executors import Executor
from harness.execution.jobs import Folders, Job
from harness.planning.merging import merged
from harness.planning.resolve import Resolver
from harness.planning.states import Item
from harness.planning.suite import Suite
from harness.records.record import Planned, Record, Row
from harness.records.reference import as_kept, read_reference, reference_path
from harness.records.store import Store
from harness.rounds import Round, write_round
from harness.runner import job_of
from harness.workload import workload_module

SEEDS = 3
"""Paired seeds where bits differ."""


@dataclass(frozen=True, kw_only=True)
class Sentinel:
    """A trial of the reference that is run again."""

    planned: Planned
    cell: str
    before: Record

    @property
    def identity(self) -> str:
        """Of its trial."""
        return self.planned.trial.identity


@dataclass(kw_only=True)
class Watched:
    """A suite's sentinels."""

    suite: Suite
    """As it was planned."""
    seeds: list[list[Sentinel]]
    """First seed first: of every seed the sentinels of all arms and cells."""
    seed_sd: Mapping[str, float]
    """Arm -> seed sd of the deciding metric in the reference."""
    skipped: list[str] = field(default_factory=list)
    """Why some trials of the reference cannot be sentinels here."""

    @property
    def arms(self) -> list[str]:
        """Arms that have sentinels."""
        return list(dict.fromkeys(s.planned.arm for s in (self.seeds[0] if self.seeds else [])))


@dataclass(kw_only=True)
class Verdicts:
    """What the gate found."""

    against: str
    """What head was held against, in words."""
    judgements: list[Judgement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_trials: int = 0
    """Trials run by the code as it stands."""
    same_class: bool = True
    """Whether both sides ran in one numerics class, so that bits could be compared."""

    @property
    def regressions(self) -> list[Judgement]:
        """What fails the gate."""
        return [j for j in self.judgements if j.status == "regression"]

    @property
    def num_compared(self) -> int:
        """Arms of which a sentinel was run."""
        return sum(j.status != "missing" for j in self.judgements)


# --- which trials ------------------------------------------------------------------------------------------


def watched(suite: Suite, store: Store, reference: str) -> Watched | None:
    """A suite's sentinels, from its committed reference; None where it has none."""
    if not reference_path(store, suite.name, reference).is_file():
        return None
    plan, rows = read_reference(store, suite.name, reference)
    planned = Suite.model_validate(plan["suite"])
    usable = [r for r in rows if r.record and r.planned.role == "evaluation" and r.record.status == "completed"]
    reads = [r for r in usable if r.planned.trial.needs]
    out = Watched(suite=planned, seeds=[], seed_sd={})
    if reads:
        out.skipped.append(f"{suite.name}: {len(reads)} trials read other trials' files, which no reference keeps")
    by_arm: dict[str, list[Row]] = {}
    for row in usable:
        if not row.planned.trial.needs:
            by_arm.setdefault(row.planned.arm, []).append(row)
    chosen = {arm: _of_arm(own, planned) for arm, own in by_arm.items()}
    out.seed_sd = {arm: sd for arm, own in by_arm.items() if (sd := _seed_sd(own, planned.workload)) is not None}
    for number in range(SEEDS):
        out.seeds.append([cell[number] for cells in chosen.values() for cell in cells if number < len(cell)])
    return out


def _of_arm(rows: Sequence[Row], suite: Suite) -> list[list[Sentinel]]:
    """At the smallest and a middle size one point's sentinels, seed by seed."""
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(" ".join(f"{k}={v}" for k, v in row.planned.cell.items()), []).append(row)
    ordered = sorted(cells, key=lambda name: min(_cost(r) for r in cells[name]))
    places = sorted({0, max(1, (len(ordered) - 1) // 2)} & set(range(len(ordered))))
    return [[_sentinel(row, ordered[p], suite) for row in _of_point(cells[ordered[p]])] for p in places]


def _of_point(rows: Sequence[Row]) -> list[Row]:
    """The first seeds of the middle one of a cell's points."""
    points: dict[str, list[Row]] = {}
    for row in rows:
        points.setdefault(str(sorted(row.planned.hyperparameters.items())), []).append(row)
    most = max(map(len, points.values()))
    full = [own for own in points.values() if len(own) == most]
    full.sort(key=lambda own: [float(v) for _, v in sorted(own[0].planned.hyperparameters.items())])
    return sorted(full[len(full) // 2], key=lambda r: r.planned.trial.seed)[:SEEDS]


def _sentinel(row: Row, cell: str, suite: Suite) -> Sentinel:
    assert row.record is not None
    planned = row.planned.model_copy(update={"probes": dict(suite.probes)})
    return Sentinel(planned=planned, cell=cell, before=row.record)


def _cost(row: Row) -> float:
    assert row.record is not None
    return float(row.record.metrics.get("flops") or row.record.seconds.get("total") or 0.0)


def _seed_sd(rows: Sequence[Row], workload: str) -> float | None:
    """Sd over seeds of the deciding metric, pooled over cells and points."""
    metric = decisive(workload_module(workload).METRICS)
    groups: dict[str, list[float]] = {}
    for row in rows:
        value = row.record.metrics.get(metric) if row.record and metric else None
        if value is not None:
            key = f"{sorted(row.planned.cell.items())} {sorted(row.planned.hyperparameters.items())}"
            groups.setdefault(key, []).append(value)
    squares = [float(np.var(values, ddof=1)) for values in groups.values() if len(values) > 1]
    return float(np.sqrt(np.mean(squares))) if squares else None


def _readable(wanted: Sequence[Sentinel], suite: Suite, folder: Path) -> set[str]:
    """Identities of the sentinels whose data is here, built now where it was not, as it was for the reference."""
    resolver, out = Resolver(suite, folder), set()
    for s in wanted:
        arm = suite.arms[s.planned.arm]
        patch = next((p for cell, p in suite.cells(s.planned.arm) if cell == s.planned.cell), {})
        raw = merged(merged(suite.base, patch), arm.patch)
        if resolver.data_of(s.planned.trial, raw) == s.planned.trial.data:
            out.add(s.identity)
    return out


# --- running them ------------------------------------------------------------------------------------------

Run = Callable[[Sequence[Job]], Mapping[str, Record]]
"""Runs jobs; identity -> record."""


def here(machine: Executor, folders: Folders) -> Run:
    """By the code as it stands, in this process's executor."""

    def run(jobs: Sequence[Job]) -> dict[str, Record]:
        return {job.trial.identity: record for job, record in machine.run(jobs, folders, lambda *_: None)}

    return run


def at_commit(revision: str, folders: Folders, scratch: Path) -> Run:
    """By the code of another commit of the repository that holds this package, unpacked below ``scratch``.

    Raises HarnessError where there is no such commit, or its code cannot run these trials.
    """
    root = scratch / "base"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    archive = scratch / "base.tar"
    command = ["git", "-C", str(sources.ROOT), "archive", "--format=tar", f"--output={archive}", revision]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError(f"--base {revision!r}: {done.stderr.strip() or 'no such commit'}")
    shutil.unpack_archive(archive, root)
    archive.unlink()

    def run(jobs: Sequence[Job]) -> dict[str, Record]:
        lanes = max(1, min(cpu_slots(), len(jobs)))
        ordered = sorted(jobs, key=lambda j: -j.expected_seconds)
        started = [_execute(root, ordered[n::lanes], folders.data, scratch / f"lane{n}") for n in range(lanes)]
        for process, _ in started:
            said = process.communicate()[0]
            if process.returncode not in (0, 3):
                raise HarnessError(f"--base {revision!r}: its code cannot run the sentinels: {said[-500:].strip()}")
        found = [r for _, out in started for rs in Store(out).load().by_identity.values() for r in rs]
        return {r.identity: r for r in found}

    return run


def _execute(root: Path, jobs: Sequence[Job], data: Path, out: Path) -> tuple[subprocess.Popen[str], Path]:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    file = out / "round.zip"
    write_round(file, Round(jobs=[(job, job.trial.identity[:12]) for job in jobs], plugins={}), out)
    words = ["execute", str(file.absolute()), "--out", str(out.absolute()), "--data", str(data.absolute())]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return process, out


# --- the gate ----------------------------------------------------------------------------------------------


def gate(
    suites: Sequence[Suite],
    store: Store,
    head: Run,
    folders: Folders,
    *,
    reference: str = "",
    base: Run | None = None,
    against: str = "",
    tell: Callable[[str], object] = lambda text: None,
) -> Verdicts:
    """Run the sentinels of these suites and judge every arm. Raises HarnessError where no suite has a reference."""
    found = [w for s in suites if (w := watched(s, store, reference or s.profile)) is not None]
    if not found:
        raise HarnessError(
            f"{store.root / 'reference'}: no committed reference of {', '.join(s.name for s in suites)}; "
            "make one: harness regress --update --reason '...'"
        )
    out = Verdicts(against=against or f"the committed reference {reference or suites[0].profile!r}")
    tests = sum(len(w.arms) for w in found)
    ran: dict[str, Record] = {}
    for suite in found:
        out.notes += suite.skipped
        tell(f"building the data of {suite.suite.name}")
        readable = _readable([s for every in suite.seeds for s in every], suite.suite, store.data)
        known: dict[str, list[Pair]] = {arm: [] for arm in suite.arms}
        undecided: Collection[str] = suite.arms
        for number, every in enumerate(suite.seeds):
            round_ = [s for s in every if s.planned.arm in undecided and s.identity in readable]
            if not round_:
                break
            tell(f"{suite.suite.name}: seed {number + 1}, {len(round_)} sentinels")
            lacking = [s for s in round_ if _lacks(ran.get(s.identity), s)]
            ran |= head(_jobs(lacking, folders)) if lacking else {}
            before = base(_jobs(round_, folders)) if base else {s.identity: s.before for s in round_}
            for s in round_:
                known[s.planned.arm].append(_pair(s, before.get(s.identity), ran.get(s.identity), suite.suite))
            now = _judged(suite, known, tests)
            if number == 0:
                undecided = [j.arm for j in now if j.status == "changed" and j.metric]
            if any(_crosses(p) for pairs in known.values() for p in pairs):
                out.same_class = False
                break
        if lost := sum(s.identity not in readable for s in (suite.seeds or [[]])[0]):
            out.notes.append(f"{suite.suite.name}: {lost} sentinels read data that is built otherwise here")
        out.judgements += _judged(suite, known, tests)
    out.num_trials = len(ran)
    return out


def _lacks(record: Record | None, wanted: Sentinel) -> bool:
    """Whether the trial has not run yet, or not with these probes."""
    return record is None or (record.status == "completed" and bool(record.lacks_probe(wanted.planned.probes)))


def _jobs(wanted: Sequence[Sentinel], folders: Folders) -> list[Job]:
    """Each trial once, though two arms may share it."""
    once = {s.identity: s for s in wanted}.values()
    expected = [s.before.seconds.get("total", 0.0) for s in once]
    return [
        job_of(Item(planned=s.planned, state="missing"), folders, expected_seconds=seconds)
        for s, seconds in zip(once, expected, strict=True)
    ]


def _pair(sentinel: Sentinel, before: Record | None, after: Record | None, suite: Suite) -> Pair:
    old = before or sentinel.before

    def shown(record: Record) -> Record:
        return as_kept(record, suite.probes, old.tables)

    return Pair(
        cell=sentinel.cell, seed=sentinel.planned.trial.seed, before=shown(old),
        after=shown(after) if after and before else None,
    )  # fmt: skip


def _crosses(pair: Pair) -> bool:
    return pair.after is not None and pair.after.numerics_class != pair.before.numerics_class


def _judged(suite: Watched, known: Mapping[str, Sequence[Pair]], tests: int) -> list[Judgement]:
    metrics = workload_module(suite.suite.workload).METRICS
    return [
        judge(suite.suite.name, arm, pairs, metrics, suite.seed_sd.get(arm), tests) for arm, pairs in known.items()
    ]
