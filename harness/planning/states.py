"""What is known of each trial: its identity, and whether its record is done, stale, missing or failed, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import ValidationError

from harness.errors import SuiteError, unknown
from harness.fingerprint import changed_modules, trial_fingerprint
from harness.methods import construct
from harness.planning.suite import Suite
from harness.records.record import FINISHED, Planned, Record, RecordSet, code_of
from harness.trial import Trial, digest
from harness.workload import method_sections, workload_module

State = Literal["done", "stale", "missing", "failed"]


@dataclass(frozen=True)
class Item:
    """A planned trial, its state, and why."""

    planned: Planned
    state: State
    why: str = ""
    record: Record | None = None
    flops: float = 0.0


class Catalogue:
    """Builds trials from configs and judges records, remembering what it has worked out."""

    def __init__(
        self, suite: Suite, records: RecordSet, data_folder: Path | None,
        accepted: Mapping[tuple[str, str, str], str],
    ):
        self.suite = suite
        self.records = records
        self.data_folder = data_folder
        self.accepted = accepted
        self.module = workload_module(suite.workload, suite.file)
        self._configs: dict[str, tuple[dict[str, Any], str, float, str]] = {}
        self._prints: dict[str, dict[str, str]] = {}
        self._digests: dict[str, str] = {}
        self._here: dict[str, str] = {}

    def trial(self, raw: Mapping[str, Any], seed: int, where: str) -> tuple[Trial, float, str]:
        """(trial, FLOPs, key of its code) for a raw config. Raises SuiteError naming arm, cell and key."""
        text = json.dumps(raw, sort_keys=True, default=str)
        if text not in self._configs:
            try:
                config = self.module.Config.model_validate(raw)
            except ValidationError as error:
                raise SuiteError(_explain_config(error, self.suite, where, self.module)) from None
            canonical = config.model_dump(mode="json", exclude_defaults=True)
            names = []
            for section, kind, value in method_sections(self.module, config):
                if section in canonical:
                    canonical[section] = construct.canonical(kind, value, f"{self.suite.file}: {where}: {section}")
                names.append(f"{kind}.{value['name']}")
            built = Trial(workload=self.suite.workload, config=canonical, seed=0)
            flops = self.module.cost(config).flops
            data = self._data(config)
            if data:
                # The digest says which data; where its source lies, or how it is spelled, is no matter.
                built.config.pop("data", None)
            self._configs[text] = (built.config, data, flops, ",".join(names))
        canonical, data, flops, code = self._configs[text]
        return (
            Trial.model_construct(workload=self.suite.workload, config=canonical, seed=seed, data=data, needs={}),
            flops,
            code,
        )

    def _data(self, config: Any) -> str:
        spec = self.module.data_spec(config)
        if spec is None or self.data_folder is None:
            return ""
        key = json.dumps(spec, sort_keys=True, default=str)
        if key not in self._digests:
            from harness import data

            self._digests[key] = data.digest(spec, self.data_folder)
        return self._digests[key]

    def fingerprint(self, t: Trial, code: str) -> dict[str, str]:
        """The current code's fingerprint for this trial."""
        if code not in self._prints:
            self._prints[code] = trial_fingerprint(t)
        return self._prints[code]

    def _numerics_class(self, device: str) -> str:
        if device not in self._here:
            from harness.environment import numerics_class

            try:
                self._here[device] = numerics_class(device)
            except (RuntimeError, AssertionError):
                self._here[device] = ""
        return self._here[device]

    def item(self, planned: Planned, flops: float, code: str) -> Item:
        """The trial's state: its newest record of the current code decides, an accepted one counts as such."""
        records = self.records.by_identity.get(planned.trial.identity, [])
        if not records:
            return Item(planned, "missing", flops=flops)
        now = self.fingerprint(planned.trial, code)
        fresh = [
            r
            for r in records
            if r.fingerprint == now or (r.identity, code_of(r), digest(now)[:16]) in self.accepted
        ]
        if not fresh:
            changed = changed_modules(records[-1].fingerprint, now)
            return Item(planned, "stale", "changed: " + ", ".join(changed), records[-1], flops)
        here = self._numerics_class(planned.trial.config.get("compute", {}).get("device", "cpu"))
        same = [r for r in fresh if r.numerics_class == here]
        record = (same or fresh)[-1]
        if record.status == "skipped" and record.numerics_class != here:
            return Item(planned, "missing", "skipped elsewhere", record, flops)
        if record.status not in FINISHED:
            return Item(
                planned,
                "failed",
                f"{record.status}: {(record.reason.strip().splitlines() or [''])[-1][:300]}",
                record,
                flops,
            )
        if record.status == "completed" and (name := record.lacks_probe(planned.probes)):
            return Item(planned, "missing", f"its record lacks probe {name!r}", record, flops)
        return Item(planned, "done", "", record, flops)


def _explain_config(error: ValidationError, suite: Suite, where: str, module: ModuleType) -> str:
    lines = []
    for problem in error.errors():
        keys = [str(k) for k in problem["loc"]]
        key = ".".join(keys)
        place = f"{suite.file}: {where}"
        if problem["type"] == "extra_forbidden":
            model: Any = module.Config
            for k in keys[:-1]:
                model = model.model_fields[k].annotation if k in getattr(model, "model_fields", {}) else model
            lines.append(str(unknown("key", keys[-1], getattr(model, "model_fields", {}), f"{place}: {key}")))
        else:
            value = problem["input"]
            shown = f" (got {value!r})" if not isinstance(value, dict) else ""
            lines.append(f"{place}: key {key!r}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)
