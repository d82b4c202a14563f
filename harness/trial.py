"""A trial: a resolved config and a seed index, with an identity, a fingerprint and its random streams."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

IDENTITY_LENGTH = 32
"""Hex digits of SHA-256 kept: 128 bits."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, integral floats and integers alike, no NaN."""

    def plain(v: Any) -> Any:
        if isinstance(v, bool) or v is None or isinstance(v, (str, int)):
            return v
        if isinstance(v, float):
            if not math.isfinite(v):
                raise ValueError(f"not finite: {v}")
            return int(v) if v.is_integer() and abs(v) < 2**53 else v
        if isinstance(v, Mapping):
            return {str(k): plain(x) for k, x in v.items()}
        if isinstance(v, Iterable):
            return [plain(x) for x in v]
        raise TypeError(f"no canonical form for {type(v).__name__}: {v!r}")

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Trial(BaseModel):
    """One run, frozen. Equal identity means: same work on same data with the same random numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workload: str
    """File name of the workload in ``harness/workloads``."""
    config: dict[str, Any]
    """The resolved config, fields at their defaults left out (see each workload's ``Config``)."""
    seed: int = Field(ge=0)
    """Seed index; every random stream derives from it."""
    data: str = ""
    """Digest of the data that the trial reads; empty where it reads none."""
    needs: dict[str, str] = {}
    """Name -> identity of a trial whose artifact this one reads."""

    @field_validator("config")
    @classmethod
    def _copy(cls, value: dict[str, Any]) -> dict[str, Any]:
        return json.loads(canonical_json(value))

    @cached_property
    def identity(self) -> str:
        """Hex SHA-256 over workload, config, seed, data and needs."""
        fields: dict[str, Any] = {
            "workload": self.workload,
            "config": self.config,
            "seed": self.seed,
            "data": self.data,
        }
        if self.needs:
            fields["needs"] = self.needs
        return digest(fields)[:IDENTITY_LENGTH]


@dataclass(frozen=True)
class Streams:
    """Random streams of a trial: keyed by (seed index, size axes), then purpose, then name or step.

    Arm, learning rate and order of draws are no part of the key, so arms of one seed see the same batches
    and, where shapes agree, the same initial weights; sizes are independent of each other.
    """

    seed: int
    size: str
    """The size axes as text, e.g. ``width=24,depth=2``."""

    def key(self, purpose: str, name: str | int = "") -> int:
        """A 64-bit key for one draw."""
        text = f"{self.seed}|{self.size}|{purpose}|{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    def integers(self, purpose: str, name: str | int, high: int, shape: int | tuple[int, ...]):
        """numpy int64 array of this shape, uniform on [0, high)."""
        import numpy as np

        return np.random.Generator(np.random.Philox(key=self.key(purpose, name))).integers(0, high, shape)

    def normal(self, purpose: str, name: str | int, shape: tuple[int, ...]):
        """Unit normals as a CPU float32 tensor of this shape."""
        import torch

        generator = torch.Generator(device="cpu").manual_seed(self.key(purpose, name) >> 1)
        return torch.randn(shape, generator=generator, dtype=torch.float32)


# --- fingerprint -----------------------------------------------------------------------------------------

FIRST_PARTY = ("harness", "baselines")
PROBES = "harness.probes"
"""Probes change no number of a trial, so their code is no part of its fingerprint."""


def source_digest(source: str) -> str:
    """Digest of a module's syntax tree without docstrings; comments and layout are not in the tree.

    Own serialisation, since ``ast.dump`` differs between Python versions.
    """

    def serial(node: Any) -> Any:
        if isinstance(node, ast.AST):
            fields = []
            for name, value in ast.iter_fields(node):
                if name in ("type_comment", "type_params", "kind") or value is None or value == []:
                    continue
                if name == "body" and isinstance(value, list):
                    # A docstring, or a line under a field that says what it is: prose, not code.
                    value = [s for s in value if not _is_prose(s)]
                fields.append([name, serial(value)])
            return [type(node).__name__, *fields]
        if isinstance(node, list):
            return [serial(n) for n in node]
        return repr(node)

    text = json.dumps(serial(ast.parse(source)), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_prose(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _module_file(module: str, roots: Mapping[str, Path]) -> Path | None:
    if module in roots:
        return roots[module]
    top = module.split(".")[0]
    if top in FIRST_PARTY:
        spec = importlib.util.find_spec(top)
        if spec is None or not spec.submodule_search_locations:
            return None
        base = Path(next(iter(spec.submodule_search_locations))).joinpath(*module.split(".")[1:])
    else:
        # A helper beside a plug-in.
        for file in roots.values():
            base = file.parent.joinpath(*module.split("."))
            if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file():
                break
        else:
            return None
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def _scan(file: Path, modified_ns: int, module: str) -> tuple[str, frozenset[str]]:
    """(source digest, absolute names that the module imports)."""
    source = file.read_text(encoding="utf-8")
    names: set[str] = set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")
                up = up[: len(up) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            names.add(base)
            names.update(f"{base}.{a.name}" for a in node.names)
    return source_digest(source), frozenset(names)


def import_closure(modules: Iterable[str], files: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Every first-party module reachable from these by import, probes apart -> its file.

    ``files`` gives the files of plug-in modules, whose folders are first-party too.
    """
    files = dict(files or {})
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in found or module == PROBES or module.startswith(PROBES + "."):
            continue
        file = _module_file(module, files)
        if file is None:
            continue
        found[module] = file
        todo.extend(_scan(file, file.stat().st_mtime_ns, module)[1])
    return found


def fingerprint(modules: Iterable[str], files: Mapping[str, Path] | None = None) -> dict[str, str]:
    """Module -> digest of its syntax tree, for the import closure of these modules.

    A plug-in module is named by its file name, so that copies on other machines agree.
    """
    files = dict(files or {})
    out = {}
    for module, file in import_closure(modules, files).items():
        name = file.stem if module in files else module
        out[name] = _scan(file, file.stat().st_mtime_ns, module)[0]
    return dict(sorted(out.items()))


def changed_modules(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Modules whose code differs, or that only one of the two fingerprints has."""
    return sorted(m for m in {*old, *new} if old.get(m) != new.get(m))
