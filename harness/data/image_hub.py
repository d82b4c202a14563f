"""Pictures of a Hugging Face data set: a column of image files and one of classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data import hub, image_files
from harness.data.image_sources import Item
from harness.data.image_spec import ImageSpec
from harness.errors import DataError

ROWS = 256
"""Rows read at once."""


class HubPictures:
    """Each row's picture; files go through the rules of ``harness.data.image_files``, as those of a folder do."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec, self.name = spec, str(spec.dataset)
        data = hub.load(self.name, spec.subset, spec.split or "train", spec.revision)
        pictures, self.label = spec.image_column or "image", spec.label_column or "label"
        import datasets

        if not isinstance(hub.column(data, self.name, pictures, "image_column"), datasets.Image):
            raise DataError(f"dataset {self.name!r}: column {pictures!r} holds no images; give image_column")
        feature = hub.column(data, self.name, self.label, "label_column")
        self.names: list[str] | None = getattr(feature, "names", None)
        if self.names is None and getattr(feature, "dtype", "") not in ("string", "large_string", "int64", "int32"):
            raise DataError(
                f"dataset {self.name!r}: column {self.label!r} holds neither classes, nor numbers or words; give "
                "label_column"
            )
        self.image = pictures
        self.data = data.select_columns([pictures, self.label]).cast_column(pictures, datasets.Image(decode=False))

    def items(self) -> Iterator[Item]:
        """In the order of the rows; one without a class is left out."""
        number = 0
        for batch in self.data.iter(ROWS):
            for file, label in zip(batch[self.image], batch[self.label], strict=True):
                yield self._item(f"row {number}", file, label)
                number += 1

    def _item(self, where: str, file: dict[str, Any] | None, label: Any) -> Item:
        name = self._named(label)
        try:
            if name is None:
                raise DataError("has no class")
            if file is None:
                raise DataError("has no picture")
            inside = file["bytes"]
            pixels = (
                image_files.decode(inside, self.spec) if inside is not None
                else image_files.read(Path(file["path"]), self.spec)
            )  # fmt: skip
        except DataError as error:
            return Item(label=name or "", where=where, problem=str(error))
        return Item(label=name, where=where, pixels=pixels)

    def _named(self, label: Any) -> str | None:
        """The class's name; None where the row has none (-1, by the library's custom)."""
        if label is None or label == -1:
            return None
        return self.names[label] if self.names is not None else str(label)

    def classes(self) -> list[str]:
        """As the data set numbers them, else sorted."""
        if self.names is not None:
            return list(self.names)
        return [str(label) for label in sorted({x for x in self.data.unique(self.label) if x not in (None, -1)})]

    def total_bytes(self) -> int | None:
        return None

    def about(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "dataset": spec.dataset, "subset": spec.subset, "revision": spec.revision,
            "split": spec.split or "train", "rows": len(self.data),
        }  # fmt: skip
