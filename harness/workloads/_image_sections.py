"""Config of workloads that tell classes of pictures apart. No torch here: plans read these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from harness.data.image_spec import ImageSpec
from harness.errors import HarnessError, unknown
from harness.models.vision_transformer_size import VisionTransformerSize
from harness.validation import told
from harness.workloads._sections import FROZEN, Compute, Network, Training


class Model(Network):
    """Vision transformer: pre-norm, learned positions, mean of the patches, untied readout, no biases."""

    patch: int = Field(default=2, gt=0)
    """Pixels of a side of a patch; divides the pictures'."""
    context: int | None = Field(default=None, gt=0, exclude=True)
    """Tokens of a language model, as its suites say when they are turned to pictures: read and left out, since a
    picture has (size / patch)^2 patches."""

    def size(self, pictures: int, channels: int, num_classes: int) -> VisionTransformerSize:
        """What its FLOPs depend on, for pictures of this many pixels a side.

        Raises HarnessError if patches do not fill the pictures.
        """
        if pictures % self.patch:
            valid = ", ".join(str(p) for p in range(1, pictures + 1) if pictures % p == 0)
            raise HarnessError(
                f"model.patch {self.patch} does not divide pictures of {pictures} pixels a side; valid: {valid}"
            )
        return VisionTransformerSize(
            num_classes=num_classes, num_patches=(pictures // self.patch) ** 2,
            patch_numbers=channels * self.patch**2, width=self.width, depth=self.depth,
            feed_forward_width=self.feed_forward_width, feed_forward=self.feed_forward,
        )  # fmt: skip


class PictureTraining(Training):
    """How long, in what batches, on which schedule."""

    divergence_factor: float = Field(default=10.0, gt=1)
    """A training loss above this many times the trivial loss counts as diverged. Of few classes the trivial loss is
    small: a batch told wrong with confidence costs several times as much, and is unlearned."""


class Config(BaseModel):
    """A trial of an image classifier."""

    model_config = FROZEN

    model: Model
    """The network."""
    data: dict[str, Any] = Field(default={"name": "digits"})
    """The pictures (see ``harness data``): digits, mnist_5k, or a path with a sub-folder for each class."""
    training: PictureTraining
    """How long and on which schedule, in pictures."""
    optimizer: dict[str, Any]
    """An optimizer: name and fields."""
    parametrization: dict[str, Any] = Field(default={"name": "standard"})
    """Initial scales and multipliers: name and fields."""
    norm: dict[str, Any] = Field(default={"name": "rmsnorm"})
    """Normalisation: name and fields."""
    compute: Compute = Field(default=Compute())
    """Device, threads, number format."""

    @field_validator("data")
    @classmethod
    def _pictures(cls, data: dict[str, Any]) -> dict[str, Any]:
        try:
            ImageSpec.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                raise ValueError(str(unknown("key", str(first["loc"][0]), ImageSpec.model_fields))) from None
            key = f"key {first['loc'][0]!r}: " if first["loc"] else ""
            raise ValueError(f"{key}{told(first)}") from None
        return data

    @property
    def pictures(self) -> ImageSpec:
        """The pictures' spec."""
        return ImageSpec.model_validate(self.data)

    @property
    def steps(self) -> int:
        """Optimizer steps; tokens_per_parameter counts pictures over the parameters of the blocks' matrices."""
        # They are the same for all pictures.
        parameters = self.model.size(self.model.patch, 1, 1).matrix_parameters
        return self.training.num_steps(self.training.batch_size, parameters)
