"""The claim: a sentence, its source and regime, its estimator, and the region where the number must lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.analysis.lookup import argument, check_arguments, facts
from harness.analysis.published import Published, read
from harness.analysis.verdicts import Region
from harness.errors import SuiteError
from harness.validation import explained
from harness.wording import banned_in
from harness.workload import Metric

MOST_CONFIRMATORY = 5
PROFILES = ("smoke", "cpu", "gpu", "paper")


class MadeAt(BaseModel):
    """The regime in which the source made its claim."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parameters: float | tuple[float, float] | None = None
    """Number, or range."""
    tokens: float | tuple[float, float] | None = None
    data: str = ""
    tuning: str = ""
    same_tuning: bool | tuple[Literal["smoke", "cpu", "gpu", "paper"], ...] = False
    """Whether this suite tunes its arms as the source did, or the profiles at which it does."""

    def tuned_alike(self, profile: str) -> bool:
        """Whether arms are tuned as in the source at this profile."""
        return self.same_tuning if isinstance(self.same_tuning, bool) else profile in self.same_tuning


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
        if self.kind == "equivalence" and self.expects is not None and self.expects.simple.within is None:
            raise ValueError("an equivalence claim expects a band: {within: [a, b]}")
        for text in (self.says, self.note):
            if found := banned_in(text):
                raise ValueError(f"the word {found[0]!r} is kept out of claims and verdicts")
        return self


def load_claims(
    raw: Mapping[str, Mapping[str, Any]], where: str = "claims", metrics: Mapping[str, Metric] | None = None
) -> list[Claim]:
    """Claims of a suite from ``{id: fields}``; SuiteError naming claim, key, value and fix.

    ``metrics``: the workload's, which tell whether a margin is one in nats; None: it is.
    """
    out = []
    for name, fields in raw.items():
        try:
            claim = Claim.model_validate({"id": name, **fields})
            check_arguments(claim.estimator["name"], _arguments(claim), f"{where}: claim {name!r}")
            if claim.published is not None and claim.published.csv is not None:
                read(claim.published.csv)
            _check_margin(claim, metrics, f"{where}: claim {name!r}")
        except ValidationError as error:
            place = f"{where}: claim {name!r}"
            raise SuiteError(explained(error, Claim, lambda keys, place=place: place)) from None  # type: ignore[misc]
        out.append(claim)
    confirmatory = [c.id for c in out if c.confirmatory]
    if len(confirmatory) > MOST_CONFIRMATORY:
        raise SuiteError(
            f"{where}: {len(confirmatory)} confirmatory claims ({', '.join(confirmatory)}), "
            f"at most {MOST_CONFIRMATORY}; "
            "make the others descriptive: every test in the family costs the others power"
        )
    return out


def _check_margin(claim: Claim, metrics: Mapping[str, Metric] | None, where: str) -> None:
    """A margin in nats says what it is worth in compute."""
    if claim.kind != "equivalence" or not claim.confirmatory or claim.margin is not None:
        return
    metric = argument(claim.estimator, "metric")
    unit = "nats" if metrics is None else metrics[metric].unit if metric in metrics else ""
    if facts(claim.estimator["name"]).in_nats and unit.startswith("nats"):
        raise SuiteError(
            f"{where}: an equivalence claim states its margin in both currencies: "
            "margin: {nats: .03, compute: .15}"
        )


def _arguments(claim: Claim) -> dict[str, Any]:
    return {k: v for k, v in claim.estimator.items() if k != "name"}
