"""Raw samples of a machine: seconds of every form of every case, run by run and round by round, and their file.

A reference is such a file under ``<results>/reference/benchmarks``, named after the family of machines on which its
ratios hold. Times are kept to four digits, for reading; only ratios within a round are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from harness.benchmarks import alone
from harness.environment import environment, numerics_class
from harness.errors import DamagedError, HarnessError
from harness.files import sealed, unsealed, write_atomically
from harness.validation import explained

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names of families: one file, nowhere else."""


class Form(BaseModel):
    """One form's samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    bytes: float
    flops: float
    runs: tuple[tuple[float, ...], ...]
    """Seconds a call: a tuple a run (a process), a number a round."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not all(0 < s < float("inf") for run in self.runs for s in run):
            raise ValueError("seconds must be numbers above 0: NaN, infinite or negative ones were never measured")
        return self


class CaseSamples(BaseModel):
    """One case's samples, the ceiling's among the forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    group: str
    name: str
    reference: str
    ceiling: Literal["copy", "product"]
    forms: dict[str, Form]

    @model_validator(mode="after")
    def _interleaved(self) -> Self:
        for key in (self.reference, self.ceiling):
            if key not in self.forms:
                raise ValueError(f"form {key!r} is missing, by which the others are divided")
        rounds = {name: [len(run) for run in form.runs] for name, form in self.forms.items()}
        if len({tuple(r) for r in rounds.values()}) > 1 or not all(all(r) and r for r in rounds.values()):
            raise ValueError(f"every form needs the same rounds in every run, at least one, not {rounds}")
        return self

    @property
    def compared(self) -> list[str]:
        """Forms that are divided by the reference."""
        return [name for name in self.forms if name not in (self.reference, self.ceiling)]

    def ratios(self, form: str, over: str = "") -> list[list[float]]:
        """Seconds over another form's (default: the reference's), round by round, run by run."""
        return [
            [a / b for a, b in zip(mine, theirs, strict=True)]
            for mine, theirs in zip(self.forms[form].runs, self.forms[over or self.reference].runs, strict=True)
        ]


class Samples(BaseModel):
    """What was measured on a machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1] = 1
    family: str
    machine: dict[str, Any]
    """The environment as records keep it, and the numerics class."""
    groups: tuple[str, ...]
    """That were asked for."""
    cases: tuple[CaseSamples, ...]
    absent: dict[str, str] = {}
    """Part -> why it was not measured."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        keys = [(c.group, c.name) for c in self.cases]
        if len(set(keys)) < len(keys):
            raise ValueError(f"case {next(k for k in keys if keys.count(k) > 1)} is there twice")
        there = {c.group for c in self.cases} | {part.partition(": ")[0] for part in self.absent}
        if missing := [g for g in self.groups if g not in there]:
            raise ValueError(f"group {missing[0]!r} is missing, though it was asked for; measure again with --save")
        return self


# --- measuring ---------------------------------------------------------------------------------------------


def family(device: str = "cpu") -> str:
    """The machines among which a ratio is taken to hold: of equal processor or GPU model and capability."""
    about = environment(device)
    words = about["gpu"]["name"] if "gpu" in about else f"{about['cpu']} {about['cpu_capability']}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def measure(
    groups: Sequence[str], device: str, rounds: int, runs: int = 1, tell: Callable[[str], Any] = lambda text: None
) -> Samples:
    """Every part of these groups, each run in a process of its own; whole runs follow one another."""
    found: Samples | None = None
    for run in range(runs):
        cases: list[CaseSamples] = []
        absent: dict[str, str] = {}
        for name in groups:
            for part in alone.group(name).PARTS:
                tell(f"{name}: {part}" + (f", run {run + 1} of {runs}" if runs > 1 else ""))
                measured, why = alone.measured(name, part, device, rounds)
                cases += [CaseSamples.model_validate(c) for c in measured]
                if why:
                    absent[f"{name}: {part}"] = why
        about = {**environment(device), "numerics_class": numerics_class(device)}
        new = Samples(
            family=family(device), machine=about, groups=tuple(groups), cases=tuple(cases), absent=absent
        )  # fmt: skip
        found = new if found is None else joined(found, new)
    assert found is not None
    return found


def joined(one: Samples, other: Samples) -> Samples:
    """Both files' runs of the cases and forms that both have, and what is absent in either."""
    theirs = {(c.group, c.name): c for c in other.cases}
    cases = []
    for case in one.cases:
        if (second := theirs.get((case.group, case.name))) is None:
            continue
        forms = {
            name: form.model_copy(update={"runs": form.runs + second.forms[name].runs})
            for name, form in case.forms.items()
            if name in second.forms
        }
        cases.append(case.model_copy(update={"forms": forms}))
    return one.model_copy(update={"cases": tuple(cases), "absent": {**one.absent, **other.absent}})


def part_of(samples: Samples, groups: Collection[str]) -> Samples:
    """Only these groups."""
    return samples.model_copy(update={
        "groups": tuple(g for g in samples.groups if g in groups),
        "cases": tuple(c for c in samples.cases if c.group in groups),
        "absent": {p: why for p, why in samples.absent.items() if p.partition(": ")[0] in groups},
    })  # fmt: skip


# --- files -------------------------------------------------------------------------------------------------


def reference_path(results: Path, name: str) -> Path:
    """The file of a family. Raises HarnessError where the name would lead elsewhere."""
    folder = results / "reference" / "benchmarks"
    if not NAME.fullmatch(name):
        raise HarnessError(
            f"reference {name!r}: give the name of a file in {folder}, without .json: small letters, digits, '-', "
            "'_' and '.', beginning with a letter or digit"
        )
    return folder / f"{name}.json"


def write(path: Path, samples: Samples) -> None:
    """Put samples into a file, whole, under a checksum."""
    write_atomically(path, sealed(samples.model_dump(mode="json")).encode())


def read(path: Path) -> Samples:
    """Samples from a file. Raises HarnessError naming the file, the key, and what is valid."""
    cure = "give a file that `harness bench-check --save FILE` wrote"
    try:
        value = unsealed(path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror or error}; {cure}") from None
    except DamagedError as error:
        raise HarnessError(f"{path}: {error}; {cure}") from None
    value.pop("sha256", None)
    try:
        return Samples.model_validate(value)
    except ValidationError as error:
        raise HarnessError(f"{explained(error, Samples, lambda keys: str(path))}; {cure}") from None
