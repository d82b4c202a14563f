"""Samples that no machine gave, and ways to change some."""

from __future__ import annotations

import random
from collections.abc import Callable

from harness.benchmarks.samples import CaseSamples, Form, Samples

Runs = tuple[tuple[float, ...], ...]


def samples(noise: float = 0.02, seed: int = 0, rounds: int = 15, runs: int = 3) -> Samples:
    """One case: ours and another form over theirs, times log-normal about 1, 2 and 3 milliseconds."""
    random_ = random.Random(seed)

    def times(seconds: float) -> Runs:
        return tuple(
            tuple(seconds * random_.lognormvariate(0, noise) for _ in range(rounds)) for _ in range(runs)
        )  # fmt: skip

    middles = {"theirs": 1e-3, "ours": 2e-3, "other": 3e-3, "copy": 5e-4}
    forms = {name: Form(bytes=1e6, flops=1e6, runs=times(s)) for name, s in middles.items()}
    case = CaseSamples(group="norms", name="8 x 4", reference="theirs", ceiling="copy", forms=forms)
    machine = {"numerics_class": "made"}
    return Samples(family="made", machine=machine, groups=("norms",), cases=(case,))


def with_runs(case: CaseSamples, change: Callable[[Runs], Runs]) -> CaseSamples:
    """The case with other runs of every form."""
    forms = {n: f.model_copy(update={"runs": change(f.runs)}) for n, f in case.forms.items()}
    return case.model_copy(update={"forms": forms})


def with_form(case: CaseSamples, name: str, change: Callable[[float], float]) -> CaseSamples:
    """The case with other seconds of one form."""
    form = case.forms[name]
    runs = tuple(tuple(change(s) for s in run) for run in form.runs)
    return case.model_copy(update={"forms": {**case.forms, name: form.model_copy(update={"runs": runs})}})


def with_seconds(whole: Samples, change: Callable[[str, float], float]) -> Samples:
    """Samples with other seconds: a function of the form's name and its own."""
    cases = []
    for case in whole.cases:
        for name in case.forms:
            case = with_form(case, name, lambda s, name=name: change(name, s))
        cases.append(case)
    return whole.model_copy(update={"cases": tuple(cases)})


def without(whole: Samples, form: str) -> Samples:
    """Samples without a form."""
    cases = tuple(
        c.model_copy(update={"forms": {n: f for n, f in c.forms.items() if n != form}}) for c in whole.cases
    )  # fmt: skip
    return whole.model_copy(update={"cases": cases})
