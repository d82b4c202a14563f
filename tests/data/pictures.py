"""Small pictures in folders, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data import images
from harness.data.images import PictureSet


def noise(seed: int, height: int = 9, width: int = 12) -> np.ndarray:
    """(height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(file: Path, pixels: np.ndarray, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)
    return file


def folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 60) -> Path:
    """A folder of noise: ``each`` pictures a class, all different."""
    for c, name in enumerate(classes):
        for i in range(each):
            save(root / name / f"{i:03}.png", noise(1000 * c + i))
    return root


def load(root: Path, data: Path, **spec: Any) -> PictureSet:
    """The pictures of a folder, 8 pixels a side unless asked for otherwise."""
    return images.load({"format": "images", "path": str(root), "size": 8, **spec}, data)
