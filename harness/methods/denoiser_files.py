"""The folder that a trained denoiser lies in: its weights, and beside them which network they belong to.

    denoiser.safetensors    weights, float32
    denoiser.json           the network's sizes, the digest of both, and what is told of the training
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import DataError
from harness.files import write_atomically
from harness.models.denoiser_size import DenoiserSize

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.denoiser import UNet

WEIGHTS, ABOUT = "denoiser.safetensors", "denoiser.json"
DIGEST_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A denoiser from its folder."""

    network: UNet
    """In evaluation mode, without gradients."""
    digest: bytes
    """8 bytes over sizes and weights."""
    about: Mapping[str, Any]
    """What its training left beside them."""


def write(folder: Path, network: UNet, about: Mapping[str, Any]) -> bytes:
    """Write a network and what is to be told of it into a folder that exists; returns its digest."""
    from safetensors.torch import save

    weights = {name: t.detach().float().cpu().contiguous() for name, t in network.state_dict().items()}
    digest = digest_of(network.size, weights)
    text = {"size": network.size.model_dump(mode="json"), "digest": digest.hex(), "about": dict(about)}
    write_atomically(folder / WEIGHTS, save(weights))
    write_atomically(folder / ABOUT, json.dumps(text, indent=1, sort_keys=True).encode())
    return digest


def read(folder: Path) -> Opened:
    """The denoiser in a folder. Raises DataError naming the file and the cure."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    from harness.models.denoiser import UNet

    cure = "give the artifact folder of a finished image_denoiser trial"
    try:
        told = json.loads((folder / ABOUT).read_bytes())
        size, said = DenoiserSize.model_validate(told["size"]), bytes.fromhex(told["digest"])
        weights = load((folder / WEIGHTS).read_bytes())
    except OSError as error:
        missing = Path(error.filename or "").name
        raise DataError(f"{folder}: no denoiser there ({missing} is missing); {cure}") from None
    except (ValueError, KeyError, TypeError, ValidationError, SafetensorError) as error:
        raise DataError(f"{folder}: a damaged denoiser ({str(error).splitlines()[0]}); {cure}") from None
    if digest_of(size, weights) != said:
        raise DataError(f"{folder}: {WEIGHTS} or {ABOUT} was altered: their digest is not {said.hex()}; {cure}")
    network = UNet(size)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise DataError(f"{folder}: {WEIGHTS} has not the parameters of the network in {ABOUT}; {cure}") from None
    return Opened(
        network=network.eval().requires_grad_(False), digest=said, about=told.get("about", {})
    )


def untrained(size: DenoiserSize | None = None) -> Opened:
    """A denoiser with its first weights, e.g. to check what is made of one."""
    from harness.models.denoiser import UNet, initialise
    from harness.streams import Streams

    network = UNet(size or DenoiserSize())
    initialise(network, Streams(0, ""))
    digest = digest_of(network.size, network.state_dict())
    return Opened(network=network.eval().requires_grad_(False), digest=digest, about={})


def digest_of(size: DenoiserSize, weights: Mapping[str, Tensor]) -> bytes:
    """8 bytes of SHA-256 over sizes, and every parameter's name, shape and values."""
    content = hashlib.sha256(json.dumps(size.model_dump(mode="json"), sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().float().cpu().contiguous()
        content.update(f"{name} {tuple(tensor.shape)}".encode())
        content.update(tensor.numpy().tobytes())
    return content.digest()[:DIGEST_BYTES]
