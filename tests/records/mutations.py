"""A store with a little of everything, and ways to harm its files at random."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.data import commands
from harness.files import sealed_file
from harness.outcome import Table
from harness.records.encoding import encode
from harness.records.plans import write_plan
from harness.records.record import Artifact, Record, Row, code_of
from harness.records.reference import write_reference
from harness.records.store import Store
from tests.data.texts import lines
from tests.records.conftest import planned, record

SEEDS = 3


def little_store(root: Path) -> Store:
    """Records with files, a plan, a reference, an attempt, a checkpoint, a result that waits, a corpus."""
    store = Store(root)
    store.prepare()
    kept = [_stored(store, seed) for seed in range(SEEDS)]
    rows = [Row(planned(r), r) for r in kept]
    entries = [
        {"planned": r.planned.model_dump(mode="json", exclude_defaults=True), "state": "done", "code": code_of(k)}
        for r, k in zip(rows, kept, strict=True)
    ]
    suite = {"name": "s", "profile": "cpu", "probes": {"spectra": {}}, "claims": [{"table": "images"}]}
    plan = {"suite": suite, "rows": entries}
    write_plan(store, "s", "cpu", plan)
    write_reference(store, "s", "cpu", plan, rows)
    store.write(record(0, status="crashed", reason="signal 9"))
    for seed in (10, 11):
        identity = record(seed).identity
        with sealed_file(store.work / identity / "checkpoint.pt", f"{identity} code") as out:
            out.write(random.Random(seed).randbytes(5000))
        (store.work / identity / "result.json").write_bytes(encode(record(seed)))
    text = root / "text.txt"
    text.write_text(lines(40_000))
    commands.build({"path": str(text)}, store.data)
    text.unlink()
    return store


def _stored(store: Store, seed: int) -> Record:
    staging = store.root / "staging"
    (staging / "images").mkdir(parents=True)
    artifacts = {}
    for name in ("model.bin", "images/0.png"):
        content = random.Random(f"{seed} {name}").randbytes(3000)
        (staging / name).write_bytes(content)
        artifacts[name] = Artifact(file=name, sha256=hashlib.sha256(content).hexdigest(), bytes=3000)
    tables = {"images": Table(columns=["image", "bits"], rows=[[i, i * 0.1 + seed] for i in range(5)])}
    kept = store.write(record(seed, artifacts=artifacts, tables=tables), staging).record
    assert kept is not None
    return kept


def targets(store: Store) -> list[Path]:
    """Every file whose content counts."""
    places = [store.records, store.artifacts, store.attempts, store.plans, store.work, store.data / "corpora",
              store.data / "index", store.root / "reference"]  # fmt: skip
    return sorted(p for place in places for p in place.rglob("*") if p.is_file() and p.parent.name != "locks")


Mutation = Callable[[Path, random.Random, list[Path]], None]


def flip_bit(path: Path, rng: random.Random, others: list[Path]) -> None:
    """One bit, anywhere."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random, others: list[Path]) -> None:
    """Some of the end is gone, at times all, at times one byte."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice([rng.randrange(len(content)), len(content) - 1, 0])])


def insert_byte(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A byte more, anywhere."""
    content, at = path.read_bytes(), rng.randrange(path.stat().st_size + 1)
    path.write_bytes(content[:at] + bytes([rng.randrange(256)]) + content[at:])


def edit_number(path: Path, rng: random.Random, others: list[Path]) -> None:
    """One digit of a number in the text is another."""
    content = path.read_bytes()
    at = rng.choice([m.start() for m in re.finditer(rb"\d", content)])
    other = rng.choice([d for d in b"0123456789" if d != content[at]])
    path.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])


def delete_row(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A line is gone."""
    rows = _rows(path)
    del rows[rng.randrange(len(rows))]
    path.write_bytes(b"".join(rows))


def repeat_row(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A line stands there twice."""
    rows = _rows(path)
    rows.insert(rng.randrange(len(rows) + 1), rng.choice(rows))
    path.write_bytes(b"".join(rows))


def swap_rows(path: Path, rng: random.Random, others: list[Path]) -> None:
    """Two lines have changed places."""
    rows = _rows(path)
    a, b = rng.sample(range(len(rows)), 2)
    rows[a], rows[b] = rows[b], rows[a]
    path.write_bytes(b"".join(rows))


def _rows(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def swap_files(path: Path, rng: random.Random, others: list[Path]) -> None:
    """It and another of its kind have each other's content."""
    other = rng.choice(others)
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def copy_file(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A copy of it stands beside it, under a name that could be another's."""
    stem, _, rest = path.name.partition(".")
    shutil.copy(path, path.with_name(f"{stem[:-1]}{'1' if stem[-1] == '0' else '0'}.{rest}"))


def delete_file(path: Path, rng: random.Random, others: list[Path]) -> None:
    """It is gone."""
    path.unlink()


def link_file(path: Path, rng: random.Random, others: list[Path]) -> None:
    """A link to the same bytes, which lie elsewhere, stands in its place."""
    elsewhere = Path(tempfile.mkdtemp()) / path.name
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


ANYWHERE: list[Mutation] = [flip_bit, truncate, insert_byte, edit_number, copy_file, delete_file, link_file]
IN_ROWS: list[Mutation] = [delete_row, repeat_row, swap_rows]
UNMISSED = {"attempts", "work", "index", "plans", "reference"}
"""Folders whose files nothing else counts on: that one is gone is no damage."""


def harm(store: Store, rng: random.Random) -> str:
    """Harm one file in one way; what was done, in words."""
    kind = rng.choice(sorted({_kind(store, p) for p in targets(store)}))
    path = rng.choice([p for p in targets(store) if _kind(store, p) == kind])
    content = path.read_bytes()
    others = [p for p in targets(store) if _kind(store, p) == kind and p.suffix == path.suffix]
    others = [p for p in others if p.read_bytes() != content]
    possible = [*ANYWHERE, *(IN_ROWS if path.suffix == ".jsonl" else []), *([swap_files] if others else [])]
    if kind in UNMISSED:
        possible.remove(delete_file)
    if kind == "work":
        possible.remove(copy_file)  # under another name it is nobody's, and nobody reads it
    if not re.search(rb"\d", content):
        possible.remove(edit_number)
    mutation = rng.choice(possible)
    mutation(path, rng, others)
    return f"{mutation.__name__} {path.relative_to(store.root)}"


def _kind(store: Store, path: Path) -> str:
    """The folder that says what a file is: records, artifacts, ..., corpora, reference."""
    parts = path.relative_to(store.root).parts
    return parts[0] if parts[0] == "reference" else parts[1]
