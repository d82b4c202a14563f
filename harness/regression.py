"""The regression gate: the sentinels of committed references run by the code as it stands, and every arm judged.

Where bits differ from what is committed, or from what another commit gives on this machine, up to three paired
seeds of that arm decide.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import sources
from harness.analysis.gate import Judgement, Pair, bit_differences, crosses, judge, undecided
from harness.environment import cpu_slots
from harness.errors import HarnessError
from harness.execution.executors import Executor
from harness.execution.jobs import Folders, Job
from harness.planning.states import Item
from harness.planning.suite import Suite
from harness.records.record import Planned, Record
from harness.records.reference import as_kept
from harness.records.store import Store
from harness.rounds import Round, write_round
from harness.runner import job_of
from harness.sentinels import Sentinel, Watched, watched
from harness.workload import workload_module


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

    def of(self, *statuses: str) -> list[Judgement]:
        """Judgements with one of these statuses."""
        return [j for j in self.judgements if j.status in statuses]

    @property
    def regressions(self) -> list[Judgement]:
        """What fails the gate."""
        return self.of("regression")

    @property
    def missing(self) -> list[Judgement]:
        """Arms of which a sentinel could not be compared: the gate does not pass by absence."""
        return self.of("missing")

    @property
    def num_compared(self) -> int:
        """Arms whose sentinels were all compared, or whose regression shows without the others."""
        return len(self.judgements) - len(self.missing)

    @property
    def altered(self) -> list[Judgement]:
        """Arms that are compared and not bit-identical."""
        return [j for j in self.judgements if j.status not in ("identical", "missing")]


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
    """Run the sentinels of these suites and judge every arm; what has no reference is missing."""
    out = Verdicts(against=against or f"the committed reference {reference or suites[0].profile!r}")
    ran: dict[str, Record] = {}
    every: list[tuple[Watched, dict[str, list[Pair]]]] = []
    for suite in suites:
        tell(f"choosing the sentinels of {suite.name}, and building their data")
        found = watched(suite, store, reference or suite.profile)
        out.notes += found.notes
        every.append((found, _pairs(found, ran, head, base, folders, tell)))
    changed = [
        (found, arm) for found, known in every for arm, pairs in known.items() if _differ(found, pairs)
    ]
    for found, known in every:
        name, metrics = found.suite.name, workload_module(found.suite.workload).METRICS
        for arm, why in found.missing.items():
            out.judgements.append(Judgement(suite=name, arm=arm, status="missing", why=why))
        for arm, pairs in known.items():
            out.same_class = out.same_class and not any(map(crosses, pairs))
            out.judgements.append(judge(name, arm, pairs, metrics, found.noise.get(arm), len(changed)))
    out.num_trials = len(ran)
    return out


def _pairs(
    found: Watched, ran: dict[str, Record], head: Run, base: Run | None, folders: Folders,
    tell: Callable[[str], object],
) -> dict[str, list[Pair]]:  # fmt: skip
    """Arm -> its pairs, of more seeds where the first left a question. What head runs is added to ``ran``."""
    metrics = workload_module(found.suite.workload).METRICS
    known: dict[str, list[Pair]] = {}
    for number, of_seed in enumerate(found.seeds):
        wanted = of_seed
        if number:
            open_ = {arm for arm, pairs in known.items() if undecided(pairs, metrics)}
            wanted = [s for s in of_seed if s.reference.arm in open_]
        if not wanted:
            break
        tell(f"{found.suite.name}: seed {number + 1}, {len(wanted)} sentinels")
        now = [s.now for s in wanted if s.now]
        ran |= _run(head, [p for p in now if _lacks(ran.get(p.trial.identity), p)], wanted, folders)
        before = {s.reference.trial.identity: s.before for s in wanted}
        if base:
            before = dict(_run(base, [_probed(s, found.suite) for s in wanted if s.now], wanted, folders))
        for s in wanted:
            pair = _pair(s, before.get(s.reference.trial.identity), ran, found.suite)
            known.setdefault(s.reference.arm, []).append(pair)
    return known


def _differ(found: Watched, pairs: Sequence[Pair]) -> bool:
    metrics = workload_module(found.suite.workload).METRICS
    return any(p.compared and bit_differences(p, metrics) for p in pairs)


def _probed(sentinel: Sentinel, suite: Suite) -> Planned:
    """The reference's own trial with the suite's probes: what another commit runs."""
    return sentinel.reference.model_copy(update={"probes": dict(suite.probes)})


def _lacks(record: Record | None, wanted: Planned) -> bool:
    """Whether the trial has not run yet, or not with these probes."""
    return record is None or (record.status == "completed" and bool(record.lacks_probe(wanted.probes)))


def _run(
    run: Run, planned: Iterable[Planned], sentinels: Sequence[Sentinel], folders: Folders
) -> Mapping[str, Record]:
    """Each trial once, though two arms may share it."""
    once = {p.trial.identity: p for p in planned}
    seconds = {s.now.trial.identity: s.before.seconds.get("total", 0.0) for s in sentinels if s.now}
    jobs = [
        job_of(Item(planned=p, state="missing"), folders, expected_seconds=seconds.get(identity, 0.0))
        for identity, p in once.items()
    ]
    return run(jobs) if jobs else {}


def _pair(sentinel: Sentinel, before: Record | None, ran: Mapping[str, Record], suite: Suite) -> Pair:
    after = ran.get(sentinel.now.trial.identity) if sentinel.now else None

    def kept(record: Record | None) -> Record | None:
        return as_kept(record, suite.probes, sentinel.before.tables) if record else None

    return Pair(
        cell=sentinel.cell, seed=sentinel.reference.trial.seed, before=kept(before), after=kept(after),
        why=sentinel.why, altered=sentinel.altered,
    )  # fmt: skip
