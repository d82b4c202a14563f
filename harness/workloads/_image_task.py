"""What the training loop needs of an image classifier: network, batches of pictures, losses, accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.data.images import PictureSet
from harness.errors import DataError
from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.models.vision_transformer import VisionArchitecture, VisionTransformer
from harness.workloads._image_sections import Config, Model
from harness.workloads._task import LearningTask

EVALUATION_PATCHES = {"cpu": 4_096, "cuda": 65_536}
"""Patches of one forward pass in evaluation, at least one picture: as many as a language model's tokens."""

STEPS_AHEAD = 25
"""Steps whose pictures are drawn together: as many as between two looks at the losses on CUDA (harness.training),
where the host has just waited."""

Batch = tuple[Tensor, Tensor]
"""Standardised pictures (B, C, S, S) and their classes (B,)."""


class ImageTask(LearningTask):
    """See harness.training.Task. Items are pictures, known by their places in a split."""

    item_tokens = 1

    def __init__(
        self, config: Config, pictures: PictureSet, seed: int, weights: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.pictures = config, pictures
        self.size = config.model.size(pictures.size, pictures.channels, len(pictures.classes))
        super().__init__(config, seed, math.log(len(pictures.classes)), weights)
        if (count := len(pictures.split("train")[0])) < config.training.batch_size:
            raise DataError(
                f"data {pictures.corpus.name!r}: {count} pictures in train, fewer than training.batch_size "
                f"{config.training.batch_size}; give more pictures or a smaller batch"
            )
        moments = torch.tensor([pictures.mean, pictures.std], device=self.device)
        self._mean_C11, self._std_C11 = moments[:, :, None, None]
        self._splits: dict[str, tuple[Any, Tensor]] = {}
        self._held: dict[str, Tensor] = {}
        self._ahead: tuple[int, Tensor] | None = None
        self._right: list[Tensor] = []
        self.accuracy: dict[str, float] = {}
        """Split -> share of its fixed pictures that were told right when it was last evaluated."""

    def network(self, section: Model, norm: Norm, parametrization: Parametrization) -> nn.Module:
        """The vision transformer of a model section."""
        base = self.config.model.base
        a = VisionArchitecture(
            num_classes=len(self.pictures.classes), size=self.pictures.size, channels=self.pictures.channels,
            patch=section.patch, width=section.width, depth=section.depth, head_width=section.head_width,
            feed_forward=section.feed_forward, feed_forward_width=section.feed_forward_width,
            qk_norm=section.qk_norm, zero_readout=section.zero_readout, zero_query=section.zero_query,
            zero_residual=section.zero_residual,
        )  # fmt: skip
        return VisionTransformer(
            a, norm, parametrization, base_head_width=base.head_width, base_depth=base.depth
        )

    # --- pictures ----------------------------------------------------------------------------------------

    def _split(self, name: str) -> tuple[Any, Tensor]:
        """(pixels, classes) of a split: pixels memory-mapped on a CPU, resident on a GPU."""
        if name not in self._splits:
            mapped, classes = self.pictures.split(name)
            on_cuda = self.device.type == "cuda"
            pixels = torch.from_numpy(np.array(mapped)).to(self.device) if on_cuda else mapped
            self._splits[name] = pixels, torch.from_numpy(classes.astype(np.int64)).to(self.device)
        return self._splits[name]

    def items(self, split: str, held: Tensor) -> Batch:
        """The pictures at these places, each channel of mean 0 and deviation 1 over the train split."""
        pixels, classes = self._split(split)
        chosen = pixels[held] if isinstance(pixels, Tensor) else torch.from_numpy(pixels[held.numpy()])
        return (chosen.float() - self._mean_C11) / self._std_C11, classes[held]

    def batch(self, step: int, part: int) -> Batch:
        """Random pictures of the train split, drawn with replacement."""
        t = self.config.training
        share = t.batch_size // t.gradient_accumulation
        return self.items("train", self._places(step)[part * share : (part + 1) * share])

    def _places(self, step: int) -> Tensor:
        """Places of the step's pictures, drawn and sent to the device for STEPS_AHEAD steps at once."""
        first = step - step % STEPS_AHEAD
        if self._ahead is None or self._ahead[0] != first:
            high, size = len(self._split("train")[0]), self.config.training.batch_size
            drawn = [self.streams.integers("batch", s, high, size) for s in range(first, first + STEPS_AHEAD)]
            self._ahead = (first, self._across(np.stack(drawn)))
        return self._ahead[1][step - first]

    def _across(self, places: np.ndarray) -> Tensor:
        """To the device, for which the host waits until all that was asked of it before is done."""
        return torch.from_numpy(places).to(self.device)

    def held_out(self, split: str) -> Tensor:
        """Places of the split's fixed pictures, evenly spaced; of ``train``, as many as of ``validation``."""
        if split not in self._held:
            t = self.config.training
            self._held[split] = self._spaced(split, t.test_tokens if split == "test" else t.evaluation_tokens)
        return self._held[split]

    def _spaced(self, split: str, wanted: int) -> Tensor:
        length = len(self._split(split)[0])
        return self._across(np.linspace(0, length - 1, min(wanted, length)).astype(np.int64))

    @property
    def items_at_once(self) -> int:
        return max(1, EVALUATION_PATCHES[self.device.type] // self.size.num_patches)

    def probe_batch(self, size: int) -> Tensor:
        """(size, C, S, S) held-out pictures, the same for every trial."""
        return self.items("validation", self._spaced("validation", size))[0]

    # --- losses ------------------------------------------------------------------------------------------

    def _eager_loss(self, batch: Batch) -> Tensor:
        """Mean nats a picture."""
        pictures_BCSS, classes_B = batch
        with self.autocast():
            return F.cross_entropy(self.model(pictures_BCSS).float(), classes_B)

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pictures_BCSS, classes_B = batch
        with self.autocast():
            logits_BV = self.model(pictures_BCSS).float()
            # What cross_entropy does, in its two steps, so that the first is done once.
            log_share = F.log_softmax(logits_BV, 1)
            mean, each_B = F.nll_loss(log_share, classes_B), F.nll_loss(log_share, classes_B, reduction="none")
        self._right.append(logits_BV.argmax(1) == classes_B)
        return mean, each_B.double()

    def _evaluate(self, split: str) -> tuple[float, Tensor]:
        self._right.clear()
        found = super()._evaluate(split)
        self.accuracy[split] = torch.cat(self._right).double().mean().item()
        return found
