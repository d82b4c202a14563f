"""Data sets of the Hugging Face hub, or of a local folder that its library reads or wrote."""

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
        if is_saved(Path(dataset).expanduser()):
            return _saved(datasets.load_from_disk(Path(dataset).expanduser()), dataset, subset, split, revision)
        return datasets.load_dataset(dataset, subset, split=split, revision=revision)
    except DataError:
        raise
    except Exception as error:  # The library raises its own, the hub's and the network's errors.
        raise DataError(f"dataset {dataset!r}, split {split!r}: {type(error).__name__}: "
                        f"{error}; check name, subset and split, and the network") from error


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder: one split, or a folder for each."""
    one, all_ = ("state.json", "dataset_info.json"), ("dataset_dict.json",)
    return any(all((folder / name).is_file() for name in names) for names in (one, all_))


def _saved(data: Any, dataset: str, subset: str | None, split: str, revision: str | None) -> Any:
    """A split of what `load_from_disk` gave. Raises DataError where it has no such split."""
    for key, value in (("subset", subset), ("revision", revision)):
        if value is not None:
            raise DataError(
                f"dataset {dataset!r}: key {key!r} has no meaning for what save_to_disk wrote; remove it"
            )
    if hasattr(data, "keys"):
        if split not in data:
            raise DataError(f"dataset {dataset!r}: no split {split!r}; it has {', '.join(data)}; give split")
        return data[split]
    # One split alone is what a spec without a split means, whatever it is called.
    if split not in ("train", str(data.split)):
        raise DataError(f"dataset {dataset!r}: no split {split!r}: save_to_disk wrote one split alone; remove "
                        "split, or give that split's own folder")
    return data


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
