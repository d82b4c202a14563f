"""Data sets of the Hugging Face hub, or of a local folder that its library reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.folders import files_below, look_of
from harness.errors import DataError


def load(dataset: str, subset: str | None, split: str, revision: str | None) -> Any:
    """A split of a data set, as the `datasets` library gives it. Raises DataError: no library, data or network."""
    try:
        import datasets
    except ImportError:
        raise DataError(f"dataset {dataset!r}: needs the datasets library; "
                        "pip install 'method-harness[datasets]'") from None
    try:
        return datasets.load_dataset(dataset, subset, split=split, revision=revision)
    except Exception as error:  # The library raises its own, the hub's and the network's errors.
        raise DataError(f"dataset {dataset!r}, split {split!r}: {type(error).__name__}: "
                        f"{error}; check name, subset and split, and the network") from error


def column(data: Any, dataset: str, wanted: str, key: str) -> Any:
    """The feature of a column. Raises DataError if it has no such column; ``key``: the spec's key that names it."""
    if wanted not in data.column_names:
        raise DataError(f"dataset {dataset!r}: no column {wanted!r}; it has "
                        f"{', '.join(data.column_names)}; give {key}")
    return data.features[wanted]


def state(dataset: str, revision: str | None) -> list[Any]:
    """For a local folder, how its files look; for a name, the name and revision."""
    root = Path(dataset).expanduser()
    if not root.is_dir():
        return ["dataset", dataset, revision]
    return look_of(files_below(root))
