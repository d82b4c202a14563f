"""From a raw config, as suite, cell, arm and point give it, to a trial with an identity, and to those it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from harness.errors import HarnessError, SuiteError, unknown
from harness.methods import construct
from harness.planning.merging import merged
from harness.planning.suite import Need, Suite
from harness.trial import Trial
from harness.validation import explained
from harness.workload import method_sections, workload_module


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A trial, and what planning must know of it beside its identity."""

    trial: Trial
    flops: float
    code: str
    """Workload and methods: trials of one code have one fingerprint."""
    needs: Mapping[str, Resolved] = field(default_factory=dict)
    """Name -> the trial whose artifacts this one reads."""


@dataclass(frozen=True, kw_only=True)
class _Config:
    """All of a resolved trial but its seed and needs."""

    canonical: dict[str, Any]
    data: str
    flops: float
    code: str


class Resolver:
    """Builds a suite's trials, remembering configs and data digests that it has worked out."""

    def __init__(self, suite: Suite, data_folder: Path | None, build: bool = True):
        self.suite = suite
        self.data_folder = data_folder
        self.build = build
        """Whether data that are not built are built; else their trials have identities without them."""
        self.unbuilt: list[Mapping[str, Any]] = []
        """What would have to be built, as the workloads say."""
        workload_module(suite.workload, suite.file)
        self.sources: dict[str, Mapping[str, Any]] = {}
        """What the trials resolved so far read, as their workloads say; each once, by its text."""
        self._configs: dict[tuple[str, str], _Config] = {}
        self._digests: dict[str, str] = {}

    def trial(self, raw: Mapping[str, Any], seed: int, where: str) -> Resolved:
        """The trial of a raw config, whose section ``needs`` patches the configs of needed trials.

        Raises SuiteError naming arm, cell and key.
        """
        if not self.suite.needs and "needs" not in raw:
            return self._resolved(self.suite.workload, raw, seed, where, {})
        patches = raw.get("needs") or {}
        for name in patches:
            if name not in self.suite.needs:
                raise unknown("needed trial", str(name), self.suite.needs, f"{self.suite.file}: {where}: needs")
        needs = {
            name: self._needed(need, patches.get(name, {}), seed, f"{where}: needs.{name}")
            for name, need in self.suite.needs.items()
            if patches.get(name, {}) is not None
        }
        own = {k: v for k, v in raw.items() if k != "needs"}
        return self._resolved(self.suite.workload, own, seed, where, needs)

    def data_of(self, trial: Trial, raw: Mapping[str, Any]) -> str:
        """Digest of the data that an identified trial reads, built here if it is not.

        ``raw``: its cell's config, since a trial's own no longer says where its data come from.
        """
        module = workload_module(trial.workload)
        data = {"data": raw["data"]} if "data" in raw else {}
        return self._data(module, module.Config.model_validate({**trial.config, **data}))

    def _needed(self, need: Need, patch: Any, seed: int, where: str) -> Resolved:
        if not isinstance(patch, Mapping):
            raise SuiteError(
                f"{self.suite.file}: {where}: got {patch!r}; give a patch of its config, or null to read none"
            )
        given = patch.get("seed", need.seed)
        if given != "same" and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
            raise SuiteError(f"{self.suite.file}: {where}.seed: got {given!r}; give 'same' or an index from 0 on")
        config = merged(need.base, {k: v for k, v in patch.items() if k != "seed"})
        return self._resolved(need.workload, config, seed if given == "same" else given, where, {})

    def _resolved(
        self, workload: str, raw: Mapping[str, Any], seed: int, where: str, needs: Mapping[str, Resolved]
    ) -> Resolved:
        key = workload, json.dumps(raw, sort_keys=True, default=str)
        known = self._configs.get(key)
        if known is None:
            known = self._configs[key] = self._config(workload, raw, where)
        trial = Trial.model_construct(
            workload=workload, config=known.canonical, seed=seed, data=known.data,
            needs={name: need.trial.identity for name, need in needs.items()},
        )
        return Resolved(trial=trial, flops=known.flops, code=known.code, needs=needs)

    def _config(self, workload: str, raw: Mapping[str, Any], where: str) -> _Config:
        module = workload_module(workload, f"{self.suite.file}: {where}")
        try:
            config = module.Config.model_validate(raw)
        except ValidationError as error:
            place = f"{self.suite.file}: {where}"
            raise SuiteError(explained(error, module.Config, lambda keys: place)) from None
        canonical = config.model_dump(mode="json", exclude_defaults=True)
        names = []
        for section, kind, value in method_sections(module, config):
            if section in canonical:
                canonical[section] = construct.canonical(kind, value, f"{self.suite.file}: {where}: {section}")
            names.append(f"{kind}.{value['name']}")
        built = Trial(workload=workload, config=canonical, seed=0)
        data = self._data(module, config)
        if data:
            # The digest says which data; where its source lies, or how it is spelled, is no matter.
            built.config.pop("data", None)
        try:
            flops = module.cost(config).flops
        except HarnessError as error:
            raise SuiteError(f"{self.suite.file}: {where}: {error}") from None
        return _Config(
            canonical=built.config, data=data, flops=flops, code=",".join([workload, *names])
        )

    def _data(self, module: ModuleType, config: Any) -> str:
        spec = module.data_spec(config)
        if spec is None:
            return ""
        key = json.dumps(spec, sort_keys=True, default=str)
        self.sources[key] = spec
        if self.data_folder is None:
            return ""
        if key not in self._digests:
            self._digests[key] = self._digest(spec, self.data_folder)
        return self._digests[key]

    def _digest(self, spec: Mapping[str, Any], folder: Path) -> str:
        """Of a spec's data; empty where they are not built and are not to be."""
        from harness import data

        if self.build:
            return data.digest(spec, folder)
        from harness.data.build import built

        digest = built(spec, folder)
        if digest is None:
            self.unbuilt.append(spec)
        return digest or ""
