"""The schema of a suite: a question, a workload, arms, axes, seeds, tuning, probes, claims, figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.errors import unknown
from harness.planning.merging import merged, nested
from harness.records.plans import KEY_DIGITS
from harness.trial import digest

PROFILES = ("smoke", "cpu", "gpu", "paper")
SHIPPED = "suites"
"""What the folder of the shipped suites is called where a suite says its file."""
MOST_SEEDS = 1000
"""Evaluation seeds of an arm; their indices stay below those of tuning and timing."""


class Section(BaseModel):
    """Frozen, no unknown keys, documented fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Range(Section):
    """A hyperparameter's range on a grid of powers of two, or a list of values."""

    log2: tuple[float, float] | None = None
    """Lowest and highest exponent of two."""
    step: float = Field(default=1.0, gt=0)
    """Grid step in octaves."""
    values: list[float] | None = None
    """Explicit values instead of a log2 range."""
    limits: tuple[float, float] = (-24.0, 4.0)
    """Exponents that boundary closure may not pass."""

    @model_validator(mode="after")
    def _one_form(self) -> Range:
        if (self.log2 is None) == (self.values is None):
            raise ValueError("give either log2: [low, high] or values: [...]")
        if self.log2 and self.log2[0] > self.log2[1]:
            raise ValueError(f"log2 range {list(self.log2)} is empty: low must not exceed high")
        return self

    def grid(self) -> list[float]:
        """The values, ascending."""
        if self.values is not None:
            return sorted(self.values)
        assert self.log2 is not None
        low, high = self.log2
        return [2.0 ** (low + i * self.step) for i in range(round((high - low) / self.step) + 1)]


class Sampler(Section):
    """How tuning proposes points; an Optuna sampler is pinned with all its arguments."""

    name: Literal["grid", "tpe", "random"] = "grid"
    """grid: all points of the space, closure at the edges, then half-step refinement while budget lasts."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the Optuna sampler, all of them pinned here."""


class Tuning(Section):
    """Search of each arm's hyperparameters in each cell, with one budget for every arm."""

    space: dict[str, Range]
    """Config path -> range, e.g. ``optimizer.lr``. An arm may give its own."""
    budget: int = Field(ge=1, le=10_000)
    """Trials per arm and cell, closure included; equal for every tuned arm, cache hits count."""
    sampler: Sampler = Sampler()
    """Proposer of points."""
    round_size: int = Field(default=4, ge=1)
    """Optuna samplers: points asked before any of them is told."""
    seed: int = 0
    """Seed of the study."""
    seeds: list[int] = [1000]
    """Seed indices reserved for selection, disjoint from the evaluation seeds."""
    metric: str = "validation_loss"
    """What selection minimises."""
    noise_sd: float = Field(default=0.03, ge=0)
    """Seed sd of the metric, from earlier records: decides the fit's width."""
    refine: bool = False
    """Grid: spend what budget is left after closure on half steps round the minimum."""


class NearOptimum(Section):
    """Cells too dear for the whole grid: they run near the optimum of a cheaper cell of the same arm."""

    axis: str
    """The axis whose value is dear, e.g. width."""
    value: Any
    """That value."""
    near: Any
    """An earlier value of the axis, whose best grid point is the centre."""
    points: int = Field(default=3, ge=3)
    """Grid points round the centre, an odd number."""
    transfer_from: Any = None
    """Another earlier value: its best grid point and both neighbours run too, for what a transfer from it costs."""
    seeds: int | None = Field(default=None, ge=1)
    """Seeds of these cells; default the suite's."""

    @model_validator(mode="after")
    def _odd(self) -> NearOptimum:
        if self.points % 2 == 0:
            raise ValueError(f"points {self.points} must be odd: the centre and as many on either side")
        return self


class Sweep(Section):
    """A grid run in full, with every evaluation seed, for figures and slopes over it."""

    space: dict[str, Range]
    """Config path -> range, common to all arms unless an arm gives its own."""
    closure: int = Field(default=0, ge=0)
    """How many points may be added beyond an edge that holds the minimum, per arm and cell."""
    around: NearOptimum | None = None
    """Cells that run only near the optimum of other cells."""
    metric: str = "validation_loss"
    """What closure looks at."""


class Axis(Section):
    """Values that every arm runs at: a config path with values, or named patches."""

    path: str | None = None
    """Config path that the values are for."""
    values: list[Any] | dict[str, dict[str, Any]]
    """List of values for ``path``, or name -> config patch."""

    @model_validator(mode="after")
    def _one_form(self) -> Axis:
        if isinstance(self.values, list) != (self.path is not None):
            raise ValueError("give 'path' with a list of values, or values as name -> config patch")
        if not self.values:
            raise ValueError("an axis needs at least one value")
        return self

    def patches(self) -> dict[Any, dict[str, Any]]:
        """Value -> config patch."""
        if isinstance(self.values, dict):
            return dict(self.values)
        assert self.path
        return {v: nested({self.path: v}) for v in self.values}


class Arm(BaseModel):
    """A named configuration of methods: a config patch, and how its hyperparameters are found."""

    model_config = ConfigDict(frozen=True, extra="allow")

    describe: str = ""
    hyperparameters: dict[str, str] = {}
    """``{from: other_arm}``: takes the values that tuning chose for that arm, cell by cell."""
    space: dict[str, Range] = {}
    """This arm's own ranges."""
    seeds: int | None = Field(default=None, ge=1, le=MOST_SEEDS)
    """Number of evaluation seeds, if other than the suite's."""
    use: dict[str, list[Any]] = {}
    """Axis -> the values this arm runs at, if not all."""
    first_seed: int = 0
    """Added to its evaluation and selection seeds; other than 0 only for an A/A arm, so that they are its own."""
    timing_only: bool = False
    """Takes part in the step-time table only."""

    @property
    def patch(self) -> dict[str, Any]:
        """The config patch."""
        return dict(self.model_extra or {})


class Need(Section):
    """A trial whose artifacts the suite's trials read, e.g. a denoiser that codecs share."""

    workload: str
    """What the needed trial does."""
    base: dict[str, Any] = {}
    """Its config. Axes and arms patch it under ``needs.<name>``, e.g. ``needs.denoiser.data.fold``; ``needs.<name>:
    null`` is an arm that reads none."""
    seed: Literal["same"] | Annotated[int, Field(ge=0)] = 0
    """Its seed index, one for all that read it; ``same``: that of the trial that reads it. A patch may set it."""


class Timing(Section):
    """Short exclusive trials for step times, arms interleaved."""

    repeats: int = Field(default=3, ge=0, le=1000)
    """Trials of each arm and cell; 0: none."""
    base: dict[str, Any] = {}
    """Config patch that makes them short."""


class Suite(Section):
    """A question, and all that answers it."""

    name: str
    """File name without ending."""
    file: str = ""
    """Where it was read from."""
    profile: str = "cpu"
    """How much work."""
    title: str
    """A few words."""
    question: str
    """What a reader wants to know."""
    sources: list[str] = []
    """Papers and posts whose claims are examined."""
    workload: str
    """What a trial does."""
    base: dict[str, Any]
    """Config common to all trials."""
    needs: dict[str, Need] = {}
    """Name -> trial whose artifacts every trial reads (see Need)."""
    axes: dict[str, Axis] = {}
    """Axis name -> values; cells are their product."""
    arms: dict[str, Arm]
    """Name -> arm."""
    use: dict[str, list[Any]] = {}
    """'arm' or an axis name -> the names this profile runs; all where absent."""
    tuning: Tuning | None = None
    """Search before evaluation."""
    sweep: Sweep | None = None
    """Full grid instead of a search."""
    seeds: int = Field(default=3, ge=1, le=MOST_SEEDS)
    """Evaluation seeds: indices 0, 1, ..."""
    first_seed: int = Field(default=0, ge=0)
    """First index of its evaluation seeds' range; set by registration, never in a file."""
    pilot: str = ""
    """Why its runs register nothing, e.g. overrides; set by the harness, never in a file."""
    timing: Timing | None = None
    """Short exclusive trials for step times: {repeats: n, base: config patch}."""
    probes: dict[str, dict[str, Any]] = {}
    """Probe -> settings."""
    claims: dict[str, dict[str, Any]] = {}
    """Id -> claim (see harness.analysis)."""
    figures: list[dict[str, Any]] = []
    """Figure kinds and options."""
    budget_minutes: float | None = None
    """Intended wall time of this profile on its machine."""
    timeout_seconds: float = Field(default=3600.0, gt=0)
    """Limit for one trial."""
    note: str = ""
    """Arms x points x seeds x seconds, and what the profile leaves out."""

    @field_validator("timing", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return value or None

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if self.tuning and self.sweep:
            raise ValueError("a suite has 'tuning' or 'sweep', not both")
        for axis, values in self.use.items():
            valid = self.arms if axis == "arm" else self.axes[axis].patches() if axis in self.axes else None
            if valid is None:
                raise ValueError(str(unknown("axis", axis, ["arm", *self.axes], "use")))
            for v in values:
                if v not in valid:
                    raise ValueError(str(unknown(axis, str(v), map(str, valid), f"use.{axis}")))
        for name, arm in self.arms.items():
            for key in arm.hyperparameters:
                if key != "from":
                    raise ValueError(str(unknown("key", key, ["from"], f"arms.{name}.hyperparameters")))
            other = arm.hyperparameters.get("from")
            if other is not None and other not in self.arms:
                raise ValueError(str(unknown("arm", other, self.arms, f"arms.{name}.hyperparameters.from")))
            if other is not None and self.arms[other].hyperparameters:
                raise ValueError(f"arms.{name}.hyperparameters.from: {other!r} is not tuned itself")
        if self.sweep and self.sweep.around:
            self._check_around(self.sweep.around)
        if self.tuning:
            overlap = set(self.tuning.seeds) & set(range(self.seeds))
            if overlap:
                raise ValueError(
                    f"tuning.seeds {sorted(overlap)} are evaluation seeds too; use 1000 and above"
                )
        return self

    def _check_around(self, around: NearOptimum) -> None:
        """The axis and its values exist, and a cell's sources are planned before it."""
        if around.axis not in self.axes:
            raise ValueError(str(unknown("axis", around.axis, self.axes, "sweep.around.axis")))
        order = list(self.axes[around.axis].patches())
        for key in ("value", "near", "transfer_from"):
            value = getattr(around, key)
            if value is None and key == "transfer_from":
                continue
            if value not in order:
                raise ValueError(str(unknown(around.axis, str(value), map(str, order), f"sweep.around.{key}")))
            if key != "value" and order.index(value) >= order.index(around.value):
                raise ValueError(
                    f"sweep.around.{key} {value!r} must come before value {around.value!r} on axis "
                    f"{around.axis!r}; valid: {', '.join(map(str, order[: order.index(around.value)])) or 'none'}"
                )

    @property
    def key(self) -> str:
        """What its plan is stored under."""
        return key_of(self.name, self.file)

    @cached_property
    def active_arms(self) -> dict[str, Arm]:
        """Arms that this profile runs."""
        chosen = self.use.get("arm")
        return {n: a for n, a in self.arms.items() if chosen is None or n in chosen}

    def config(self, arm: str, patch: Mapping[str, Any], timed: bool = False) -> dict[str, Any]:
        """An arm's raw config in a cell of this patch, without hyperparameters; ``timed``: its timing trials'."""
        raw = merged(merged(self.base, patch), self.arms[arm].patch)
        return merged(raw, self.timing.base) if timed and self.timing else raw

    def _values(self, arm: str, axis: str) -> dict[Any, dict[str, Any]]:
        """Values of an axis that this profile and this arm run at, with their config patches."""
        chosen, mine = self.use.get(axis), self.arms[arm].use.get(axis)
        return {
            value: patch
            for value, patch in self.axes[axis].patches().items()
            if (chosen is None or value in chosen) and (mine is None or value in mine)
        }

    @cached_property
    def cell_axes(self) -> list[str]:
        """Axes that name cells: those that vary in this profile; all where none does."""
        varying = [a for a in self.axes if len({v for arm in self.active_arms for v in self._values(arm, a)}) > 1]
        return varying or list(self.axes)

    def cells(self, arm: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """(cell, merged config patch) for each combination of axis values this arm runs at."""
        out = []
        for combination in product(*(self._values(arm, axis).items() for axis in self.axes)):
            patch: dict[str, Any] = {}
            for _, p in combination:
                patch = merged(patch, p)
            named = zip(self.axes, combination, strict=True)
            out.append(({axis: value for axis, (value, _) in named if axis in self.cell_axes}, patch))
        return out

    @cached_property
    def claims_hash(self) -> str:
        """Digest of claims, margins, estimators and the confirmatory list."""
        return digest(self.claims)[:16]


def key_of(name: str, file: str) -> str:
    """What a suite's plan is stored under: two of one file name are told apart by where they lie."""
    ships = not file or file.startswith(f"{SHIPPED}/")
    return name if ships else f"{name}-{digest(file)[:KEY_DIGITS]}"
