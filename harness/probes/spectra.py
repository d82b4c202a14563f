"""Effective ranks and norms of weight matrices, of their updates and of activations, while a trial runs.

One spectrum a matrix and sample gives every functional, in float64 (kexue.fm 10847; 2502.16982, section 3.4).
Stacked projections are separate matrices. Default cadence: 8 steps evenly over the run, first and last
included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.methods import construct
from harness.methods.optimizer import ParameterGroup
from harness.methods.rank import Rank
from harness.metrics.spectra import path_for, singular_values
from harness.outcome import Table, finite
from harness.probes import ProbedTask, named_matrices
from harness.probes._activations import activations
from harness.probes._settings import Settings, layer_of, parse, sampled

COLUMNS = ["step", "matrix", "layer", "kind", "rows", "columns", "functional", "value"]
NORMS = {"spectral_norm": "s_1", "rms": "root mean square of the entries"}
ROUNDING = 1e-2
"""Largest share of an update's entries that may be rounding of the weights; beyond, it has no rank."""

Kind = Literal["weight", "update", "activation"]


class SpectraSettings(Settings):
    """Settings of probe ``spectra``."""

    functionals: list[str | dict[str, Any]] = Field(
        default=[
            "svd_entropy",
            "stable_rank",
            "nuclear_ratio",
            "nuclear_over_frobenius",
            "participation_ratio",
            "entropy_rank",
            {"name": "entropy_rank", "gamma": 2.0},
            {"name": "numerical_rank", "threshold": 0.01},
            "energy_rank",
        ],
        min_length=1,
    )
    """Ranks: a name, or a name with fields; the table calls the first by its name, the second by its id."""
    kinds: list[Kind] = Field(default=["weight", "update"], min_length=1)
    """What is measured: weights, updates (difference across a step over its LR, decay included), and
    activations of each site (samples x features, not centred)."""
    roles: list[Literal["embedding", "hidden", "readout"]] = Field(default=["hidden"], min_length=1)
    """Roles of the matrices looked at."""
    samples: int = Field(default=8, ge=2, le=1000)
    """Steps measured, first and last included."""
    spacing: Literal["even", "log"] = "even"
    """How the steps lie: evenly, or evenly in the logarithm of the number of updates."""
    heads: Annotated[int, Field(ge=0)] | Literal["model"] = 0
    """Number of heads that query, key and value are split into, by output rows; 'model': as many as
    ``model.architecture.num_heads`` says; 0: they are not split."""
    members: int = Field(default=4, ge=1)
    """At most this many members of a stack whose members have no names (experts), evenly spaced."""
    size: int = Field(default=8, ge=1, le=4096)
    """Sequences or images for activations."""
    spectrum_points: int = Field(default=64, ge=0, le=4096)
    """Singular values kept of each weight matrix at the first and last sample (evenly spaced in rank if there
    are more); 0: none."""


class Matrix:
    """One matrix among the parameters: where it is read, and what it is called."""

    def __init__(self, name: str, parameter: nn.Parameter, index: int | None, rows: slice | None = None) -> None:
        self.name, self.parameter, self.index, self.rows = name, parameter, index, rows
        self.layer = layer_of(name)

    def read(self, source: Tensor) -> Tensor:
        """This matrix of a tensor of the parameter's shape, as (outputs, inputs)."""
        W = source.detach() if self.index is None else source.detach()[self.index]
        return W if self.rows is None else W[self.rows]


class Spectra:
    """Table: step (updates taken), matrix, layer, kind, rows, columns, functional, value.

    A value is None where it is not defined: a matrix with NaN, or an update lost in the weights' rounding.
    """

    def __init__(self, settings: SpectraSettings) -> None:
        self.settings = settings
        self.functionals: dict[str, Rank] = {}
        for config in settings.functionals:
            config = {"name": config} if isinstance(config, str) else config
            rank: Rank = construct.build("rank", config, "probe 'spectra', setting 'functionals'")
            label = str(config["name"]) if len(config) == 1 else str(rank.definition()["id"])
            self.functionals[label] = rank
        self.table: list[list[Any]] = []
        self.spectra: dict[str, dict[str, list[float]]] = {}
        self.before: dict[int, Tensor] = {}

    def start(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: torch.optim.Optimizer,
        task: ProbedTask,
    ) -> None:
        """Measures the initial weights (step 0). HarnessError if no matrix has the roles asked for."""
        self.model, self.task = model, task
        self.matrices = chosen(model, groups, self.settings)
        self.steps = frozenset(sampled(task.steps, self.settings.samples, self.settings.spacing))
        self.group_of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
        if "activation" in self.settings.kinds:
            self.inputs = task.probe_batch(self.settings.size)
        self._weights(0)
        self._activations(0)

    def wants(self, step: int) -> bool:
        return step in self.steps

    def before_step(self, step: int) -> None:
        if "update" in self.settings.kinds:
            parameters = {id(m.parameter): m.parameter for m in self.matrices}
            self.before = {key: p.detach().clone() for key, p in parameters.items()}

    def after_step(self, step: int) -> None:
        self._weights(step + 1)
        self._updates(step + 1)
        self._activations(step + 1)
        self.before = {}

    def _weights(self, step: int) -> None:
        if "weight" not in self.settings.kinds:
            return
        keep = step == 0 or step - 1 == max(self.steps, default=-1)
        read = [(m.name, m.layer, m.read(m.parameter)) for m in self.matrices]
        for name, s in self._measure(step, "weight", read).items():
            if keep and self.settings.spectrum_points:
                self.spectra.setdefault(str(step), {})[name] = thinned(s, self.settings.spectrum_points)

    def _updates(self, step: int) -> None:
        if "update" not in self.settings.kinds:
            return
        read, lost = [], set()
        for m in self.matrices:
            old, new = m.read(self.before[id(m.parameter)]), m.read(m.parameter)
            lr = float(self.group_of[id(m.parameter)]["lr"])
            change = (new.double() - old.double()) / (lr or 1.0)
            rounding = torch.finfo(m.parameter.dtype).eps * old.double().square().mean().sqrt() / (lr or 1.0)
            if not rounding <= ROUNDING * change.square().mean().sqrt():
                lost.add(m.name)
            read.append((m.name, m.layer, change))
        self._measure(step, "update", read, lost)

    def _activations(self, step: int) -> None:
        if "activation" not in self.settings.kinds:
            return
        taken = activations(self.model, self.task, self.inputs)
        read = [
            (f"activation.{layer}.{site}" if layer >= 0 else f"activation.{site}", layer, x.flatten(0, -2))
            for (layer, site), x in taken.items()
        ]
        self._measure(step, "activation", read)

    def _measure(
        self,
        step: int,
        kind: Kind,
        read: Iterable[tuple[str, int, Tensor]],
        lost: Iterable[str] = (),
    ) -> dict[str, Tensor]:
        """Appends the rows of these matrices, equal shapes in one batch; returns their spectra on the CPU."""
        batches: dict[tuple[int, int], list[tuple[str, int, Tensor]]] = defaultdict(list)
        for item in read:
            batches[int(item[2].shape[0]), int(item[2].shape[1])].append(item)
        lost, spectra = set(lost), {}
        for shape, items in batches.items():
            # The whole batch in float64 is small beside the model's optimizer state; one call for all.
            s = singular_values(torch.stack([W for _, _, W in items]), path_for(self.functionals)).cpu()
            values = {label: f(s, shape) for label, f in self.functionals.items()}
            values["spectral_norm"] = s[:, 0]
            values["rms"] = s.square().sum(-1).div(shape[0] * shape[1]).sqrt()
            for i, (name, layer, _) in enumerate(items):
                spectra[name] = s[i]
                for label, value in values.items():
                    kept = None if name in lost else finite(value[i].item())
                    self.table.append([step, name, layer, kind, *shape, label, kept])
        return spectra

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [list(row) for row in self.table], "spectra": {k: dict(v) for k, v in self.spectra.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.table = [list(row) for row in state["rows"]]
        self.spectra = {k: dict(v) for k, v in state["spectra"].items()}

    def finish(self) -> Table:
        about = {
            "probe": "spectra",
            "definitions": {label: dict(f.definition()) for label, f in self.functionals.items()} | NORMS,
            "computed_in": "float64",
            "path": path_for(self.functionals),
            "stored_dtype": sorted({str(m.parameter.dtype) for m in self.matrices}),
            "step": "updates taken",
            "update": "weights after less weights before, over the learning rate; decay included",
            "centred": False,
            "settings": self.settings.model_dump(),
            "spectra": self.spectra,
        }
        return Table(columns=COLUMNS, rows=self.table, about=about)


def chosen(model: nn.Module, groups: Sequence[ParameterGroup], settings: SpectraSettings) -> list[Matrix]:
    """The matrices to look at, heads split and unnamed stacks thinned. HarnessError if there are none."""
    found: list[Matrix] = []
    heads = num_heads(model) if settings.heads == "model" else settings.heads
    for name, parameter, index in named_matrices(model, groups, settings.roles):
        member = name.removesuffix(".weight").rpartition(".")[2]
        if index is not None and member == str(index):
            count = parameter.shape[0]
            if index not in sampled(count, settings.members, "even"):
                continue
        found += split(name, member, parameter, index, heads)
    if not found:
        roles = sorted({g.role for g in groups if any(p.ndim > 1 for p in g.parameters)})
        raise HarnessError(
            f"probe 'spectra', setting 'roles': no matrix has role {settings.roles}; this model has matrices "
            f"of roles {roles}"
        )
    return found


def num_heads(model: nn.Module) -> int:
    """As many as the model's architecture says; HarnessError if it does not."""
    heads = getattr(getattr(model, "architecture", None), "num_heads", 0)
    if not heads:
        raise HarnessError(
            f"probe 'spectra', setting 'heads': model {type(model).__name__} does not say how many it has "
            "(architecture.num_heads); give the number"
        )
    return int(heads)


HEADED = ("query", "key", "value", "wq", "wk", "wv", "q", "k", "v")


def split(name: str, member: str, parameter: nn.Parameter, index: int | None, heads: int) -> list[Matrix]:
    """The matrix, or one a head for a query, key or value. HarnessError if heads do not divide its rows."""
    if not heads or member not in HEADED:
        return [Matrix(name, parameter, index)]
    rows = int(parameter.shape[-2])
    if rows % heads:
        raise HarnessError(
            f"probe 'spectra', setting 'heads': {heads} heads do not divide the {rows} rows of {name!r}; "
            f"choose a divisor of {rows}"
        )
    width = rows // heads
    return [
        Matrix(f"{name}.head{h}", parameter, index, slice(h * width, (h + 1) * width)) for h in range(heads)
    ]


def thinned(s: Tensor, points: int) -> list[float]:
    """At most ``points`` of the singular values, evenly spaced in rank, with 6 digits; none if not finite."""
    if not bool(s.isfinite().all()):
        return []
    return [float(f"{s[i].item():.6g}") for i in sampled(len(s), points, "even")]


def build(settings: Mapping[str, Any]) -> Spectra:
    """The probe; HarnessError for settings that are wrong."""
    return Spectra(parse(SpectraSettings, settings, "spectra"))
