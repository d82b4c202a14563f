"""The claim: a sentence, its source and regime, its estimator, and the region where the number must lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.analysis.estimate import check_arguments
from harness.analysis.published import Published
from harness.analysis.verdicts import Region
from harness.analysis.words import banned
from harness.errors import SuiteError

MOST_CONFIRMATORY = 5
IN_NATS = ("mean_difference", "transfer_gap")
"""Estimators whose equivalence margin is stated in nats and as compute."""
PROFILES = ("smoke", "cpu", "gpu", "paper")
SCALE_FACTOR = 3.0
"""Within this factor of the published parameters and tokens a run speaks of the published scale."""


class MadeAt(BaseModel):
    """The regime in which the source made its claim."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parameters: float | tuple[float, float] | None = None
    """Number, or range."""
    tokens: float | tuple[float, float] | None = None
    data: str = ""
    tuning: str = ""
    same_tuning: bool = False
    """Whether this suite tunes its arms as the source did."""


class Margin(BaseModel):
    """An equivalence margin in both currencies, fixed in the suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    nats: float = Field(gt=0)
    compute: float = Field(gt=0)
    """The same as relative extra compute: nats = g L ln(1 + compute)."""


class Claim(BaseModel):
    """A sentence, its source, how it is estimated and where the number must lie."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    says: str = Field(min_length=10)
    """The claim in one sentence, without verdict words."""
    source: str
    """Paper or post."""
    place: str = ""
    """Where in the source."""
    kind: Literal["identity", "direction", "trend", "value", "equivalence"]
    """identity holds at any scale and has no sampling error."""
    made_at: MadeAt = MadeAt()
    estimator: dict[str, Any]
    """``{name: compute_ratio, arm: muon, baseline: adamw, ...}``."""
    expects: Region | None = None
    """Where the number must lie; only descriptive claims may leave it out."""
    confirmatory: bool = False
    """Judged, in one Holm family with the suite's other confirmatory claims; else estimate and interval only."""
    published: Published | None = None
    needs_profile: Literal["cpu", "gpu", "paper"] | None = None
    """Lowest profile that can answer."""
    margin: Margin | None = None
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain_published(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("published"), (int, float)):
            return {**data, "published": {"value": data["published"]}}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        if "name" not in self.estimator:
            raise ValueError("estimator needs a name, e.g. {name: compute_ratio, arm: muon, baseline: adamw}")
        if self.confirmatory and self.expects is None:
            raise ValueError("a confirmatory claim says what it expects, e.g. expects: {below: 1}")
        if self.kind == "equivalence" and self.expects is not None:
            if self.expects.simple.within is None:
                raise ValueError("an equivalence claim expects a band: {within: [a, b]}")
            if self.confirmatory and self.margin is None and self.estimator["name"] in IN_NATS:
                raise ValueError(
                    "an equivalence claim states its margin in both currencies: margin: {nats: .03, compute: .15}"
                )
        for text in (self.says, self.note):
            if found := banned(text):
                raise ValueError(f"the word {found!r} is kept out of claims and verdicts")
        return self


def load_claims(raw: Mapping[str, Mapping[str, Any]], where: str = "claims") -> list[Claim]:
    """Claims of a suite from ``{id: fields}``; SuiteError naming claim, key, value and fix."""
    out = []
    for name, fields in raw.items():
        try:
            claim = Claim.model_validate({"id": name, **fields})
            check_arguments(claim.estimator["name"], _arguments(claim), f"{where}: claim {name!r}")
        except ValidationError as error:
            lines = []
            for problem in error.errors():
                key = ".".join(str(k) for k in problem["loc"])
                shown = "" if isinstance(problem["input"], Mapping) else f" (got {problem['input']!r})"
                lines.append(
                    f"{where}: claim {name!r}: {key + ': ' if key else ''}"
                    f"{problem['msg'].removeprefix('Value error, ')}{shown}"
                )
            raise SuiteError("\n".join(lines)) from None
        out.append(claim)
    confirmatory = [c.id for c in out if c.confirmatory]
    if len(confirmatory) > MOST_CONFIRMATORY:
        raise SuiteError(
            f"{where}: {len(confirmatory)} confirmatory claims ({', '.join(confirmatory)}), "
            f"at most {MOST_CONFIRMATORY}; "
            "make the others descriptive: every test in the family costs the others power"
        )
    return out


def _arguments(claim: Claim) -> dict[str, Any]:
    return {k: v for k, v in claim.estimator.items() if k != "name"}


def scope_of(
    claim: Claim, trials: pd.DataFrame
) -> tuple[Literal["published", "reduced", "identity"], float | None]:
    """(scope, how many times larger the source's largest model was than ours).

    published: our parameters and tokens all within a factor 3 of the source's range, arms tuned as there.
    """
    if claim.kind == "identity":
        return "identity", _factor(claim, trials)
    m, near = claim.made_at, claim.made_at.same_tuning
    for name, made in (("parameters", m.parameters), ("tokens", m.tokens)):
        if made is None or name not in trials.columns or not trials[name].notna().any():
            near = False
            continue
        low, high = made if isinstance(made, tuple) else (made, made)
        near = near and trials[name].min() >= low / SCALE_FACTOR and trials[name].max() <= high * SCALE_FACTOR
    return ("published" if near else "reduced"), _factor(claim, trials)


def _factor(claim: Claim, trials: pd.DataFrame) -> float | None:
    made = claim.made_at.parameters
    if made is None or "parameters" not in trials.columns or not trials["parameters"].notna().any():
        return None
    return float((made[1] if isinstance(made, tuple) else made) / trials["parameters"].max())
