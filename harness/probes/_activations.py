"""Activations of named sites, from one extra forward pass without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.probes import ProbedTask
from harness.probes._settings import layer_of

LOGITS = "logits"
SITES: Mapping[str, str] = {
    "embedding": "embedding",
    "embed": "embedding",
    "token_embedding": "embedding",
    "patch_embedding": "embedding",
    "attention": "attention",
    "attn": "attention",
    "feed_forward": "feed_forward",
    "ffn": "feed_forward",
    "mlp": "feed_forward",
    "moe": "feed_forward",
}
"""Last part of a module's name -> site, for models that do not name their sites themselves."""


def sites(model: nn.Module) -> dict[str, tuple[int, str]]:
    """Module name -> (layer, site); layer -1 outside of blocks.

    A model may say it itself in ``model.sites``: module name -> site. Raises HarnessError if nothing is found.
    """
    own: Mapping[str, str] | None = getattr(model, "sites", None)
    found: dict[str, tuple[int, str]] = {}
    for name, _ in model.named_modules():
        site = own.get(name) if own is not None else SITES.get(name.rpartition(".")[2])
        # The outermost module of a site is the site.
        if site and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = (layer_of(f"{name}."), site)
    if not found:
        raise HarnessError(
            f"model {type(model).__name__} has no module that a probe knows as a site; give it an attribute "
            f"sites (module name -> site), or name its modules like {', '.join(sorted(SITES))}"
        )
    return found


def activations(model: nn.Module, task: ProbedTask, inputs: Any) -> dict[tuple[int, str], Tensor]:
    """(layer, site) -> output of the site on these inputs, float32, logits included as (-1, "logits").

    The hooks are gone when this returns; weights, gradients and train mode are as before.
    """
    taken: dict[tuple[int, str], Tensor] = {}
    modules = dict(model.named_modules())
    modes = {name: m.training for name, m in modules.items()}
    handles = []

    def hook(key: tuple[int, str]) -> Any:
        def take(module: nn.Module, args: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            taken[key] = value.detach().to(torch.float32)

        return take

    try:
        for name, key in sites(model).items():
            handles.append(modules[name].register_forward_hook(hook(key)))
        with torch.no_grad():
            taken[-1, LOGITS] = task.forward(inputs).detach().to(torch.float32)
    finally:
        for handle in handles:
            handle.remove()
        for name, mode in modes.items():
            modules[name].training = mode
    return taken
