"""What specs of data share, texts and pictures alike: one source, its name in reports, shares that are held out."""

from __future__ import annotations

from pathlib import PurePath

from pydantic import BaseModel, ConfigDict


class SourceSpec(BaseModel):
    """Data that are embedded (``name``), files (``path``), or a data set (``dataset``)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def sources(self) -> list[str]:
        """The keys of path and dataset that are given: none where data are embedded. ValueError for both."""
        found = [key for key in ("path", "dataset") if getattr(self, key) is not None]
        if len(found) == 2:
            raise ValueError("give path or dataset, not both")
        return found

    @property
    def label(self) -> str:
        """The data's name in reports."""
        name, path, dataset = (getattr(self, key) for key in ("name", "path", "dataset"))
        return name or PurePath(path or dataset or "").name or str(path or dataset)


def check_shares(validation: float, test: float) -> None:
    """Raises ValueError where the splits that are held out would be larger than the train split."""
    if validation + test > 0.5:
        raise ValueError("validation_share + test_share is above 0.5; the train split must be the larger part")
