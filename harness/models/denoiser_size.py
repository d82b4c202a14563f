"""Sizes of a denoising UNet, its parameters and its FLOPs. No torch here: plans read these."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.methods.roles import Role

COLOURS = 3
TAPS = 9
"""Places that a 3 x 3 filter looks at."""


class DenoiserSize(BaseModel):
    """A UNet over images whose squares of ``patch`` x ``patch`` pixels were folded into channels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    widths: tuple[int, ...] = Field(default=(48, 64, 96), min_length=1)
    """Channels at each level; every level has half the sides of the one before."""
    blocks: int = Field(default=1, ge=1)
    """Residual blocks a level on the way down, and as many on the way up; the lowest level has both."""
    patch: int = Field(default=2, ge=1)
    """Side of the squares that are folded into channels: the first level works at 1 / patch of the resolution."""
    groups: int = Field(default=8, ge=1)
    """Groups of GroupNorm; divides every width."""
    frequencies: int = Field(default=16, ge=1)
    """Sines, and as many cosines, that the noise level is told by."""

    @model_validator(mode="after")
    def _consistent(self) -> DenoiserSize:
        if wrong := [w for w in self.widths if w < 1 or w % self.groups]:
            raise ValueError(
                f"widths {list(self.widths)}: {wrong[0]} is no multiple of groups {self.groups}; give its multiples"
            )
        return self

    @property
    def multiple(self) -> int:
        """What the sides of its images are multiples of."""
        return self.patch * 2 ** (len(self.widths) - 1)

    @property
    def folded(self) -> int:
        """Channels of an image whose patches were folded."""
        return COLOURS * self.patch**2

    def maps(self) -> Iterator[tuple[int, int, int]]:
        """(level, inputs, outputs) of every 3 x 3 convolution, in the order of the forward pass."""
        last = len(self.widths) - 1
        yield 0, self.folded, self.widths[0]
        for level, width in enumerate(self.widths):
            yield from [(level, width, width)] * (2 * self.blocks * (1 + (level == last)))
            if level < last:
                yield level + 1, width, self.widths[level + 1]
        for level in reversed(range(last)):
            yield level, self.widths[level + 1], self.widths[level]
            yield from [(level, self.widths[level], self.widths[level])] * (2 * self.blocks)
        yield 0, self.widths[0], self.folded

    def shapes(self) -> list[tuple[Role, tuple[int, ...]]]:
        """Role and shape of every parameter, in no particular order."""
        told, features = self.widths[0], 2 * self.frequencies
        out: list[tuple[Role, tuple[int, ...]]] = [("hidden", (told, features)), ("vector", (told,))]
        for _, inputs, outputs in self.maps():
            out += [("hidden", (outputs, inputs, 3, 3)), ("vector", (outputs,))]
        for width in self._block_widths():
            out += [("hidden", (2 * width, told)), ("vector", (2 * width,))]
            out += [("vector", (width,))] * 4
        return [*out, ("hidden", (1, told)), ("vector", (1,))]

    def flops(self, height: int, width: int) -> float:
        """FLOPs of an image's forward pass: its convolutions and maps, two a multiplication and addition."""
        told = self.widths[0]
        total = 2.0 * told * (2 * self.frequencies + 1) + sum(2.0 * told * 2 * w for w in self._block_widths())
        for level, inputs, outputs in self.maps():
            shrunk = (self.patch * 2**level) ** 2
            total += 2.0 * TAPS * inputs * outputs * height * width / shrunk
        return total

    def _block_widths(self) -> list[int]:
        """Channels of every residual block, down and up."""
        return [w for w in self.widths for _ in range(2 * self.blocks)]
