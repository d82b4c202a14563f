"""What stands in the place of a normalisation, site by site: slope, scale of its input, saturation, response.

Whether alpha tracks 1 / std (2503.10622, section 6), and what of a normalisation no point-wise function can follow,
is read from here. LayerNorm and RMSNorm, which have no slope, are measured alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.methods.optimizer import ParameterGroup
from harness.metrics import response
from harness.outcome import Table, finite
from harness.probes import ProbedTask
from harness.probes._rows import RowsOfABatch
from harness.probes._settings import Settings, layer_of, parse

SITES = {"attention_norm": "attention", "feed_forward_norm": "feed_forward", "final_norm": "final"}
"""Last part of a module's name -> site, for models that do not name their norms themselves."""
SATURATED = 2.0
"""|alpha x| beyond which a bounded function is taken to be flat: there 1 - tanh^2 is .07."""
STATISTICS = {
    "alpha_mean": "mean over channels of |alpha|, the slope inside; f is odd, so that gains absorb its sign",
    "alpha_spread": "sd over channels of |alpha|",
    "alpha_min": "lowest alpha, with its sign",
    "alpha_negative": "share of channels with a negative alpha",
    "input_std": "sd over all numbers that enter",
    "input_rms_token_sd": "sd over tokens of a token's RMS, over its mean",
    "saturation": f"share of the numbers that enter with |alpha x| > {SATURATED:g}",
    "gain_rms": "RMS of the gains",
    "output_rms": "RMS of all numbers that leave",
}
RESPONSE = {
    "bin": "quantile bins of the numbers that enter, from low to high",
    "input": "mean of a bin",
    "output": "mean of what leaves, gain and bias taken off",
    "output_sd": "its sd within the bin",
}
FIT = {
    "fit": "gain f(slope x) + offset nearest to what leaves, gain and bias taken off; ceiling: any function of x",
    "r2": "share of the variance explained",
    "fit_gain": "gain of the fit",
    "fit_slope": "slope of the fit",
    "fit_offset": "offset of the fit",
}
COLUMNS = ["kind", "step", "layer", "site", *STATISTICS, *RESPONSE, *FIT]


class NormSitesSettings(Settings):
    """Settings of probe ``norm_sites``."""

    steps: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 20, 50, 100, 200])
    """Updates taken at which the sites are measured; the end is measured whatever it says."""
    size: int = Field(default=8, ge=1, le=4096)
    """Sequences or images in the fixed batch."""
    bins: int = Field(default=64, ge=2, le=4096)
    """Quantile bins of the response at the end."""


def norms(model: nn.Module) -> dict[str, tuple[int, str]]:
    """Module name -> (layer, site); layer -1 outside of blocks. HarnessError if no norm is known.

    A model may say it itself in ``model.norm_sites``: module name -> site.
    """
    own: Mapping[str, str] | None = getattr(model, "norm_sites", None)
    found = {
        name: (layer_of(f"{name}."), site)
        for name, _ in model.named_modules()
        if (site := own.get(name) if own is not None else SITES.get(name.rpartition(".")[2]))
    }
    if not found:
        raise HarnessError(
            f"probe 'norm_sites': model {type(model).__name__} has no module that is known as a norm; give it an "
            f"attribute norm_sites (module name -> site), or name its norms {', '.join(SITES)}"
        )
    return found


class NormSites(RowsOfABatch):
    """Runs the fixed batch at the chosen steps and notes what enters and leaves each norm.

    Table: rows of three kinds, each with its own columns and None in the others'. ``site``: statistics at a step
    (updates taken). ``response``: a bin of the map at the end. ``fit``: a function fitted to it.
    """

    def __init__(self, settings: NormSitesSettings) -> None:
        super().__init__(settings.size)
        self.settings = settings

    def start(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: torch.optim.Optimizer,
        task: ProbedTask,
    ) -> None:
        """Notes the sites at initialisation, where asked."""
        super().start(model, groups, optimizer, task)
        self.sites = norms(model)
        if self._watched(0):
            self._note(0)

    def wants(self, step: int) -> bool:
        return self._watched(step + 1)

    def _watched(self, updates: int) -> bool:
        return updates in self.settings.steps or updates == self.task.steps

    def after_step(self, step: int) -> None:
        self._note(step + 1)

    @torch.no_grad()
    def _note(self, step: int) -> None:
        for name, passed in self._passed().items():
            module, (x, y) = self.model.get_submodule(name), (t.double() for t in passed)
            place = {"step": step, **dict(zip(("layer", "site"), self.sites[name], strict=True))}
            self._add(kind="site", **place, **_statistics(module, x, y))
            if step == self.task.steps:
                self._respond(place, *_without_gain(module, x, y))

    def _respond(self, place: Mapping[str, Any], x: Tensor, y: Tensor) -> None:
        if not (x.isfinite().all() and y.isfinite().all()):
            return
        for index, b in enumerate(response.bins(x, y, self.settings.bins)):
            self._add(
                kind="response", **place, bin=index, input=b.input, output=b.output, output_sd=b.output_sd
            )
        for fit in response.fits(x, y, self.settings.bins):
            self._add(
                kind="fit", **place, fit=fit.name, r2=fit.r2,
                fit_gain=fit.gain, fit_slope=fit.slope, fit_offset=fit.offset,
            )

    def _add(self, **values: Any) -> None:
        self.rows.append([finite(v) if isinstance(v := values.get(c), float) else v for c in COLUMNS])

    def _passed(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Norm -> (what enters, what leaves), (..., D) each. The hooks are gone when this returns."""
        taken: dict[str, tuple[Tensor, Tensor]] = {}
        handles = []

        def hook(name: str) -> Any:
            def take(module: nn.Module, args: Any, output: Tensor) -> None:
                taken[name] = (args[0].detach(), output.detach())

            return take

        try:
            for name in self.sites:
                handles.append(self.model.get_submodule(name).register_forward_hook(hook(name)))
            self.task.forward(self.inputs)
        finally:
            for handle in handles:
                handle.remove()
        return taken

    def finish(self) -> Table:
        about = {
            "probe": "norm_sites",
            "statistics": STATISTICS,
            "response": {**RESPONSE, **FIT},
            "step": "updates taken",
            "batch": self.settings.size,
            "dtype": "activations of the trial's forward pass, statistics in float64",
        }
        return Table(columns=COLUMNS, rows=self.rows, about=about)


def _vector(module: nn.Module, name: str) -> Tensor | None:
    value = getattr(module, name, None)
    return value.detach().double() if isinstance(value, Tensor) else None


def _statistics(module: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """The columns of STATISTICS that this module has; x, y: (..., D)."""
    token_rms = x.square().mean(-1).sqrt()
    out = {
        "input_std": x.std(correction=0),
        "input_rms_token_sd": token_rms.std(correction=0) / token_rms.mean(),
        "output_rms": y.square().mean().sqrt(),
    }
    if (alpha := _vector(module, "alpha")) is not None:
        size = alpha.abs()
        out |= {
            "alpha_mean": size.mean(),
            "alpha_spread": size.std(correction=0),
            "alpha_min": alpha.min(),
            "alpha_negative": (alpha < 0).double().mean(),
            "saturation": ((alpha * x).abs() > SATURATED).double().mean(),
        }
    if (gain := _vector(module, "weight")) is not None:
        out["gain_rms"] = gain.square().mean().sqrt()
    return {name: value.item() for name, value in out.items()}


def _without_gain(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and outputs, flat, before each channel's gain and bias; channels of gain 0 are left out."""
    gain, bias = _vector(module, "weight"), _vector(module, "bias")
    if bias is not None:
        y = y - bias
    if gain is not None:
        kept = gain != 0
        x, y = x[..., kept], y[..., kept] / gain[kept]
    return x.flatten(), y.flatten()


def build(settings: Mapping[str, Any]) -> NormSites:
    """The probe; HarnessError for settings that are wrong."""
    return NormSites(parse(NormSitesSettings, settings, "norm_sites"))
