"""Building a set of pictures: read, shrink, split by the hash of the pixels, write.

A split holds its pictures in the order of their hashes, so that names and order of files change no byte; equal
pixels fall into the same split, whatever files they came from.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.data.corpus import SPLITS, TOKENIZER, Corpus
from harness.data.documents import split_of
from harness.data.image_hub import HubPictures
from harness.data.image_sources import Item, PictureSource, local
from harness.data.image_spec import ImageSpec
from harness.data.images import LABEL_BYTES, LAYOUT, row_bytes
from harness.data.staging import Progress, Staging
from harness.errors import DataError
from harness.files import write_atomically

LEAST_PICTURES = 16
"""Pictures of the smallest split: as many as the test loss has blocks."""
MOST_CLASSES = 256**LABEL_BYTES
NAMED = 100
"""Files that were left out and are named; all are counted."""
AT_ONCE = 1024
"""Pictures copied at once."""


@dataclass
class Found:
    """What a source gave, pixels apart."""

    labels: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    """SHA-256 of the pixels, in hex."""
    left_out: list[str] = field(default_factory=list)
    """File and reason."""
    without_pixels: list[str] = field(default_factory=list)
    """Classes of those."""


def build_images(spec: ImageSpec, staging: Staging, progress: Progress | None) -> Corpus:
    """The pictures of a spec, in a staging folder that becomes their data set. Raises DataError."""
    origin = local(spec) if spec.dataset is None else HubPictures(spec)
    found, pixels_NP = _read(spec, origin, staging, progress)
    classes = _classes(spec, origin, found)
    number = {label: i for i, label in enumerate(classes)}
    labels_N = np.array([number[label] for label in found.labels], f"<u{LABEL_BYTES}")
    shares = {"validation": spec.validation_share, "test": spec.test_share}
    places: dict[str, list[int]] = {s: [] for s in SPLITS}
    for i in sorted(range(len(found.hashes)), key=lambda i: (found.hashes[i], labels_N[i])):
        places[split_of(found.hashes[i], **shares)].append(i)
    _enough(spec, classes, places, labels_N)
    for split, rows in places.items():
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            whole = np.hstack((labels_N[part].view(np.uint8).reshape(len(part), LABEL_BYTES), pixels_NP[part]))
            staging.splits[split].write(whole.tobytes())
    mean, std = _moments(spec, pixels_NP, places["train"])
    layout = json.dumps({
        "format": LAYOUT, "size": spec.side, "channels": spec.channels, "classes": classes,
        "mean": mean, "std": std,
    })  # fmt: skip
    write_atomically(staging.path / TOKENIZER, layout.encode())
    del pixels_NP
    _raw(staging).unlink()
    about = {
        **origin.about(), "pictures": {s: len(rows) for s, rows in places.items()}, "shares": shares,
        "split_by": "pixels", "left_out": {"files": len(found.left_out), "named": found.left_out[:NAMED]},
        **_repeated(found), "Pillow": importlib.metadata.version("Pillow"),
    }  # fmt: skip
    return staging.finish(
        spec, vocab_size=256, dtype="uint8", about=about, tokenizer=hashlib.sha256(layout.encode()).hexdigest()
    )


def _raw(staging: Staging) -> Path:
    return staging.path / "pictures.bin"


def _read(
    spec: ImageSpec, origin: PictureSource, staging: Staging, progress: Progress | None
) -> tuple[Found, np.ndarray]:
    """What the source gave, and its pixels, (pictures, channels size size) uint8, on the disk."""
    found, done, total = Found(), 0, origin.total_bytes() if progress else None
    with _raw(staging).open("wb") as out:
        for item in origin.items():
            if item.pixels is None:
                _leave_out(spec, found, item)
            else:
                content = item.pixels.tobytes()
                found.labels.append(item.label)
                found.hashes.append(hashlib.sha256(content).hexdigest())
                out.write(content)
            done += item.num_bytes
            if progress:
                progress(done, total)
    width = row_bytes(spec.channels, spec.side) - LABEL_BYTES
    shape = (len(found.labels), width)
    if not found.labels:
        raise DataError(f"data {spec.label!r}: empty: no picture in it can be read{_first(found.left_out)}")
    return found, np.memmap(_raw(staging), np.uint8, "r", shape=shape)


def _leave_out(spec: ImageSpec, found: Found, item: Item) -> None:
    found.left_out.append(f"{item.where}: {item.problem}")
    found.without_pixels.append(item.label)
    if spec.unreadable == "error":
        raise DataError(
            f"data {spec.label!r}: {found.left_out[0]}; mend the file or take it away, or give unreadable: skip to "
            "leave such files out"
        )


def _first(left_out: Sequence[str]) -> str:
    return f" ({len(left_out)} files left out; the first: {left_out[0]})" if left_out else ""


def _classes(spec: ImageSpec, origin: PictureSource, found: Found) -> list[str]:
    """The classes, in order; every one has a picture. Raises DataError."""
    classes, readable = origin.classes(), Counter(found.labels)
    if without := [c for c in classes if not readable[c]]:
        labelled = zip(found.left_out, found.without_pixels, strict=True)
        its_own = [file for file, label in labelled if label == without[0]]
        raise DataError(
            f"data {spec.label!r}: class {without[0]!r} has no picture that can be read{_first(its_own)}; add "
            "some, or take the class away"
        )
    if len(classes) < 2:
        raise DataError(
            f"data {spec.label!r}: one class alone, {classes[0]!r}: there is nothing to tell apart; give "
            "pictures of two classes or more"
        )
    if len(classes) > MOST_CLASSES:
        raise DataError(f"data {spec.label!r}: {len(classes):,} classes; at most {MOST_CLASSES:,} can be held")
    return classes


def _enough(spec: ImageSpec, classes: list[str], places: dict[str, list[int]], labels_N: np.ndarray) -> None:
    for split, rows in places.items():
        if len(rows) < LEAST_PICTURES:
            share = {} if split == "train" else {f"{split}_share": getattr(spec, f"{split}_share")}
            fix = "".join(f", or a larger {key} (now {value:g})" for key, value in share.items())
            raise DataError(
                f"data {spec.label!r}: too small: {len(rows)} of {len(labels_N)} pictures fell into {split} by the "
                f"hash of their pixels, at least {LEAST_PICTURES} needed; give more different pictures{fix}"
            )
    if missing := set(range(len(classes))) - set(labels_N[places["train"]].tolist()):
        label = classes[min(missing)]
        raise DataError(
            f"data {spec.label!r}: class {label!r}: none of its pictures fell into train by the hash of their "
            "pixels; give more of them"
        )


def _moments(spec: ImageSpec, pixels_NP: np.ndarray, rows: Sequence[int]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over these pictures, from exact sums."""
    channels, count = spec.channels, len(rows) * spec.side**2
    first, second = [0] * channels, [0] * channels
    for start in range(0, len(rows), AT_ONCE):
        part = pixels_NP[rows[start : start + AT_ONCE]].reshape(-1, channels, spec.side**2).astype(np.int64)
        for c in range(channels):
            first[c] += int(part[:, c].sum())
            second[c] += int(np.square(part[:, c]).sum())
    squared = [count * b - a * a for a, b in zip(first, second, strict=True)]
    if not all(squared):
        raise DataError(f"data {spec.label!r}: the train pictures have one colour alone; give pictures that differ")
    return [a / count for a in first], [math.sqrt(v) / count for v in squared]


def _repeated(found: Found) -> dict[str, int]:
    """Pictures beyond the first of the same pixels, and how many different ones have several classes."""
    classes: dict[str, set[str]] = {}
    for hash_, label in zip(found.hashes, found.labels, strict=True):
        classes.setdefault(hash_, set()).add(label)
    return {
        "repeated": len(found.hashes) - len(classes),
        "of_several_classes": sum(len(labels) > 1 for labels in classes.values()),
    }
