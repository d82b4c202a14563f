"""What has a name and can be listed or shown: suites, claims, profiles, workloads, methods, probes, ..."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import BaseModel

from harness import probes, registry, workloads
from harness.commands._arguments import MEANINGS
from harness.commands._describe import Described, Field, fields_of, parameters_of
from harness.errors import SuiteError, unknown
from harness.execution import executors
from harness.planning import compose
from harness.planning.hydra import composed, shipped_folder
from harness.planning.suite import PROFILES, Suite


@dataclass(frozen=True, kw_only=True)
class Named:
    """A thing in a line."""

    name: str
    summary: str
    origin: str = ""
    """Where it comes from, if it does not ship."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of thing."""

    name: str
    plural: str
    entries: Callable[[], list[Named]]
    describe: Callable[[str], Described] | None = None
    """Says all of one; raises UnknownNameError with 'did you mean'. None where a line says all."""


def kinds() -> dict[str, Kind]:
    """Name -> kind, in the order in which a reader meets them."""
    found = [
        Kind(name="suite", plural="suites", entries=_suites),
        Kind(name="claim", plural="claims", entries=_claims, describe=_claim),
        Kind(name="profile", plural="profiles", entries=_profiles, describe=_profile),
        Kind(name="workload", plural="workloads", entries=_workloads, describe=_workload),
        *(_method_kind(kind, folder) for kind, folder in registry.KINDS.items()),
        Kind(name="probe", plural="probes", entries=_probes, describe=_probe),
        Kind(name="estimator", plural="estimators", entries=_estimators, describe=_estimator),
        Kind(name="figure", plural="figures", entries=_figures, describe=_figure),
        Kind(name="executor", plural="executors", entries=_executors, describe=_executor),
    ]
    return {kind.name: kind for kind in found}


def chosen(what: str | None) -> list[Kind]:
    """The kinds that a word of ``harness list`` means: a kind, ``methods``, or all. Raises UnknownNameError."""
    known = kinds()
    if what in (None, "all"):
        return list(known.values())
    if what == "methods":
        return [known[kind] for kind in registry.KINDS]
    by_name = {**known, **{kind.plural: kind for kind in known.values()}}
    if what not in by_name:
        raise unknown("kind of thing", str(what), ["all", "methods", *(k.plural for k in known.values())])
    return [by_name[what]]


def described(word: str) -> Described | None:
    """What ``KIND.NAME``, or ``suite``, means; None where the word names no kind, as a suite's name."""
    if word == "suite":
        return Described(
            kind="suite", name="file", summary="The keys of a suite's YAML file.", fields=fields_of(Suite)
        )
    kind, _, name = word.partition(".")
    found = kinds().get(kind)
    if found is None or not name or found.describe is None:
        return None
    return found.describe(name)


# --- suites and profiles -----------------------------------------------------------------------------------


def _suites() -> list[Named]:
    return [Named(name=n, summary=compose.title_of(n)) for n in compose.shipped()]


@functools.cache
def _all_claims() -> dict[str, Mapping[str, Any]]:
    """SUITE.CLAIM -> what the shipped suite's file, and what it builds on, says of it."""
    return {
        f"{suite}.{claim}": said
        for suite in compose.shipped()
        for claim, said in (composed(shipped_folder() / f"{suite}.yaml").get("claims") or {}).items()
    }


def _claims() -> list[Named]:
    return [Named(name=name, summary=c["says"], origin=c["source"]) for name, c in _all_claims().items()]


def _claim(name: str) -> Described:
    """What a claim says, where it was made, and how it is judged."""
    known = _all_claims()
    if name not in known:
        raise unknown("claim", name, known)
    said = {k: v for k, v in known[name].items() if k != "says"}
    return Described(
        kind="claim", name=name, summary=known[name]["says"],
        facts=[yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100).rstrip()],
    )  # fmt: skip


def _profiles() -> list[Named]:
    return [Named(name=n, summary=ABOUT_PROFILES[n]) for n in PROFILES]


ABOUT_PROFILES = {
    "smoke": "plumbing: a few tiny trials, no verdicts",
    "cpu": "two CPU cores, minutes a suite",
    "gpu": "one H200-class card",
    "paper": "the published settings, where the hardware is there",
}


def _profile(name: str) -> Described:
    """What a profile is, and which shipped suites have it."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    having = [n for n in compose.shipped() if _has_profile(n, name)]
    return Described(
        kind="profile", name=name, summary=ABOUT_PROFILES[name],
        facts=[f"suites that have it: {', '.join(having) or 'none'}", f"use: harness run SUITE profile={name}"],
    )  # fmt: skip


def _has_profile(suite: str, profile: str) -> bool:
    try:
        compose.load(suite, profile)
    except SuiteError:
        return False
    return True


# --- methods -----------------------------------------------------------------------------------------------


def _method_kind(kind: str, folder: str) -> Kind:
    return Kind(name=kind, plural=folder, entries=lambda: _methods(kind), describe=lambda name: method(kind, name))


def _methods(kind: str) -> list[Named]:
    return [
        Named(name=e.name, summary=registry.summary(e), origin="" if e.origin == "baseline" else e.origin)
        for e in registry.entries(kind)
    ]


def method(kind: str, name: str) -> Described:
    """What a method is and what each field means."""
    entry = registry.find(kind, name)
    cls = registry.method_class(kind, name)
    return Described(
        kind=kind, name=name, origin=entry.origin, summary=registry.summary(entry), about=inspect.getdoc(cls) or "",
        fields=fields_of(cls), unavailable=registry.unavailable(kind, name),
    )  # fmt: skip


# --- workloads and probes: a module each, found by file name -----------------------------------------------


def _files(package: ModuleType) -> dict[str, Path]:
    return {f.stem: f for p in package.__path__ for f in sorted(Path(p).glob("[!_.]*.py"))}


def _headline(file: Path) -> str:
    """First line of a module's docstring, read without importing it."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _modules(package: ModuleType) -> list[Named]:
    return [Named(name=name, summary=_headline(file)) for name, file in sorted(_files(package).items())]


def _find(package: ModuleType, kind: str, name: str) -> tuple[ModuleType, str]:
    files = _files(package)
    if name not in files:
        raise unknown(kind, name, files)
    return importlib.import_module(f"{package.__name__}.{name}"), _headline(files[name])


def _workloads() -> list[Named]:
    return _modules(workloads)


def _workload(name: str) -> Described:
    module, summary = _find(workloads, "workload", name)
    methods = ", ".join(s if s == kind else f"{s} ({kind})" for s, kind in module.METHODS.items())
    metrics = []
    for metric, about in module.METRICS.items():
        cap = f"capped at {about.cap}" if about.cap else ""
        said = [about.unit, "shown" if about.shown else "", "compared" if about.compared else "", cap]
        metrics.append(f"  {metric}: " + ", ".join([about.label, *filter(None, said)]))
    return Described(
        kind="workload", name=name, summary=summary, about=inspect.getdoc(module.Config) or "",
        fields=fields_of(module.Config),
        facts=[f"methods: {methods or 'none'}", "metrics:", *metrics],
    )  # fmt: skip


def _probes() -> list[Named]:
    return _modules(probes)


def _probe(name: str) -> Described:
    module, summary = _find(probes, "probe", name)
    settings = [m for m in _defined_in(module) if issubclass(m, BaseModel)]
    return Described(
        kind="probe", name=name, summary=summary, about=inspect.getdoc(module) or "",
        fields=[f for model in settings[:1] for f in fields_of(model)],
    )  # fmt: skip


def _defined_in(module: ModuleType) -> Iterable[type]:
    """Classes that this module defines itself, those with settings in their name first."""
    own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    return sorted(own, key=lambda cls: not cls.__name__.endswith("Settings"))


def _executors() -> list[Named]:
    return _modules(executors)


def _executor(name: str) -> Described:
    module, summary = _find(executors, "executor", name)
    return Described(
        kind="executor", name=name, summary=summary, about=inspect.getdoc(module.build) or "",
        fields=parameters_of(module.build),
    )  # fmt: skip


# --- estimators and figures: functions, registered by name -------------------------------------------------


def _estimators() -> list[Named]:
    from harness.analysis import lookup

    return [Named(name=n, summary=s) for n, s in lookup.names().items()]


def _estimator(name: str) -> Described:
    from harness.analysis import lookup

    found = lookup.find(name)
    facts = found.facts
    said = [f"reads: {', '.join(facts.reads)}"]
    said += [f"takes into account where recorded: {', '.join(facts.uses)}"] if facts.uses else []
    said += [f"needs {facts.least_sizes} sizes or more"] if facts.least_sizes > 1 else []
    said += [f"forms: {', '.join(facts.forms)}"] if facts.forms else []
    return dataclasses.replace(_function("estimator", name, found.function), facts=said)


def _figures() -> list[Named]:
    from harness.report import figures

    return [Named(name=n, summary=said) for n, (said, _) in figures.kinds().items()]


def _figure(name: str) -> Described:
    from harness.report.figures import registry as figures

    found = _function("figure", name, figures.find(name))
    of_all = [
        Field(field=option, type=f"{kind} | None", default=None, about=MEANINGS[option])
        for option, kind in figures.COMMON.items()
    ]
    return dataclasses.replace(found, fields=[*found.fields, *of_all])


def _function(kind: str, name: str, function: Callable[..., Any]) -> Described:
    about = inspect.getdoc(function) or ""
    return Described(
        kind=kind, name=name, summary=about.partition("\n")[0], about=about,
        # The first is what it works on: the evidence, the frames.
        fields=parameters_of(function)[1:],
    )  # fmt: skip
