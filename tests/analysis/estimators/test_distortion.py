"""Codecs paired by photograph: equal rate, ladders, refusals, and intervals that cover."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis import lookup
from harness.analysis.evidence import Evidence
from harness.data.photographs import PHOTOGRAPHS
from harness.errors import ClaimError
from harness.workload import Metric

LEVELS = {p.name: 2.4 * i for i, p in enumerate(PHOTOGRAPHS)}
"""How hard each photograph is, dB: what pairing takes out."""


def evidence(arms, sd=0.3, seeds=1, seed=0, photographs=PHOTOGRAPHS, **columns):
    """``arms``: arm -> {point: (rate, gain in dB)}; quality = level + 3 ln rate + gain + noise."""
    rng = np.random.default_rng(seed)
    trials, tables = [], []
    for arm, points in arms.items():
        for point, (rate, gain) in points.items():
            for s in range(seeds):
                for fold in ("a", "b"):
                    about = {"arm": arm, "role": "evaluation", "point": point, "fold": fold, "seed": s,
                             "identity": f"{arm} {point} {s} {fold}"}
                    trials.append({**about, "status": "completed", "numerics_class": "cpu"})
                    tables += [
                        {**about, "table": "images", "image": p.name, "natural": p.natural,
                         "bits_per_pixel_file": rate, "psnr": LEVELS[p.name] + 3 * np.log(rate) + gain
                         + sd * rng.standard_normal()}
                        for p in photographs if p.fold == fold
                    ]
    metrics = {"psnr": Metric(label="PSNR", unit="dB")}
    return Evidence(trials=pd.DataFrame(trials).assign(**columns), tables=pd.DataFrame(tables), metrics=metrics,
                    claim="c")


def estimate(found, name, **arguments):
    return lookup.run(found, {"name": name, **arguments})


LADDER = {"low": (0.02, 0.0), "mid": (0.05, 0.0), "high": (0.2, 0.0)}


def test_a_difference_is_that_of_the_photographs_and_not_of_their_levels():
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}})
    answer = estimate(found, "quality_difference", arm="new", baseline="old")
    (part,) = answer.parts
    wide = found.tables.pivot_table(index="image", columns="arm", values="psnr")
    d = wide["new"] - wide["old"]
    assert part.value == pytest.approx(d.mean()) and part.df == 10
    assert part.se == pytest.approx(d.std() / np.sqrt(11)) and part.se < 0.3
    assert answer.unit == "dB" and answer.num_trials == 4
    rows = {r["photographs"]: r["n"] for r in answer.table}
    assert rows == {"all": 11, "fold a": 5, "fold b": 6, "natural": 8}
    assert estimate(found, "quality_difference", arm="new", baseline="old", natural=True).parts[0].df == 7


def test_codebooks_are_averaged_within_a_photograph():
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}}, seeds=3)
    (part,) = estimate(found, "quality_difference", arm="new", baseline="old").parts
    wide = found.tables.pivot_table(index="image", columns="arm", values="psnr", aggfunc="mean")
    assert part.df == 10 and part.se == pytest.approx((wide["new"] - wide["old"]).std() / np.sqrt(11))


@pytest.mark.parametrize("seeds", [1, 3])
def test_an_answer_says_how_many_codebooks_and_photographs_it_rests_on(seeds):
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}}, seeds=seeds)
    answer = estimate(found, "quality_difference", arm="new", baseline="old")
    assert answer.num_seeds == seeds and answer.num_trials == 4 * seeds
    assert "over 11 photographs" in answer.notes[0]


def test_the_rate_itself_is_a_quality_too():
    """How large a file is, photograph by photograph."""
    found = evidence({"new": {"low": (0.05, 1.0)}, "old": {"low": (0.02, 0.0)}})
    noise = np.random.default_rng(1).normal(0, 0.001, len(found.tables))
    found.tables["bits_per_pixel_file"] += noise
    (part,) = estimate(found, "quality_difference", arm="new", baseline="old", metric="bits_per_pixel_file").parts
    wide = found.tables.pivot_table(index="image", columns="arm", values="bits_per_pixel_file")
    assert part.value == pytest.approx((wide["new"] - wide["old"]).mean())


def test_equal_rate_is_read_off_the_baselines_curve_in_the_logarithm():
    found = evidence({"new": {"own": (0.1, 0.7)}, "old": LADDER}, sd=1e-9)
    answer = estimate(found, "quality_at_rate", arm="new", baseline="old")
    # Quality is linear in ln rate here, so that only the gain is left: linear in the rate itself it would not be.
    assert answer.parts[0].value == pytest.approx(0.7, abs=1e-6)
    assert answer.parts[0].label == "0.1 bits a pixel"
    better = evidence({"new": {k: (rate, 0.5) for k, (rate, _) in LADDER.items()}, "old": LADDER})
    both = estimate(better, "quality_at_rate", arm="new", baseline="old", rates=[0.03, 0.12])
    assert [p.label for p in both.parts] == ["0.03 bits a pixel", "0.12 bits a pixel"]
    assert all(abs(p.value - 0.5) < 4 * p.se for p in both.parts)


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_outside_either_curve_it_is_refused(rate):
    found = evidence({"new": {"own": (rate, 0.7)}, "old": LADDER})
    told = r"'c': the curve of 'old' over bits_per_pixel_file does not reach astronaut at .* \(measured from 0.02"
    with pytest.raises(ClaimError, match=f"{told} to 0.2.*run the codec at a point beyond it"):
        estimate(found, "quality_at_rate", arm="new", baseline="old")
    found = evidence({"new": LADDER, "old": {"a": (0.001, 0), "b": (1, 0)}})
    with pytest.raises(ClaimError, match="the curve of 'new'"):
        estimate(found, "quality_at_rate", arm="new", baseline="old", rates=[rate])


def test_a_ladder_has_a_part_a_step():
    found = evidence({"new": LADDER})
    answer = estimate(found, "ladder_steps", arm="new", points=["low", "mid", "high"])
    assert [p.label for p in answer.parts] == ["low to mid", "mid to high"]
    for part, gain in zip(answer.parts, (3 * np.log(2.5), 3 * np.log(4)), strict=True):
        assert abs(part.value - gain) < 4 * part.se
    falling = estimate(found, "ladder_steps", arm="new", points=["high", "low"])
    assert falling.parts[0].value < 0


def test_intervals_cover():
    arms = {"new": {"low": (0.02, 0.25)}, "old": {"low": (0.02, 0.0)}}
    inside = 0
    for seed in range(200):
        answer = estimate(evidence(arms, seed=seed), "quality_difference", arm="new", baseline="old")
        low, high = answer.interval()
        inside += low <= 0.25 <= high
    # 95 % of 200, give or take three standard deviations of the count.
    assert 180 <= inside <= 199


REFUSALS = {
    "arm 'other' has no completed trials; run it, or name an arm and points that ran: new, old":
        ("quality_difference", {"arm": "other", "baseline": "old"}, {}),
    r"arm 'new' was encoded at several points; pick one: at: \{point": (
        "quality_difference", {"arm": "new", "baseline": "old"}, {}),
    "ran in several numerics classes": (
        "ladder_steps", {"arm": "new", "points": ["low", "mid"]}, {"numerics_class": ["x", "y", "z"] * 4}),
    "1 points make no step": ("ladder_steps", {"arm": "new", "points": ["low"]}, {}),
    "have no column 'ssim'": ("quality_difference", {"arm": "new", "baseline": "old", "metric": "ssim"}, {}),
}


@pytest.mark.parametrize("told", REFUSALS)
def test_what_cannot_be_answered_is_refused_with_the_cure(told):
    name, arguments, columns = REFUSALS[told]
    with pytest.raises(ClaimError, match=told):
        estimate(evidence({"new": LADDER, "old": LADDER}, **columns), name, **arguments)


def test_photographs_of_one_arm_alone_are_refused():
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}})
    trials = found.trials[(found.trials["arm"] == "old") | (found.trials["fold"] == "a")]
    one = Evidence(trials=trials, tables=found.tables, metrics=found.metrics, claim="c")
    with pytest.raises(ClaimError, match=r"only one of 'new' and 'old' encoded china, .*run both on every fold"):
        estimate(one, "quality_difference", arm="new", baseline="old")


def test_a_missing_value_is_refused():
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}})
    found.tables.loc[3, "psnr"] = np.nan
    with pytest.raises(ClaimError, match="'psnr' of 'rocket' is missing for arm 'new'"):
        estimate(found, "quality_difference", arm="new", baseline="old")


def test_a_trial_that_two_cells_share_counts_once():
    found = evidence({"new": {"low": (0.02, 1.0)}, "old": {"low": (0.02, 0.0)}}, seeds=2)
    again = found.tables[(found.tables["seed"] == 0) & (found.tables["arm"] == "new")]
    twice = Evidence(trials=found.trials, tables=pd.concat([found.tables, again]), metrics=found.metrics)
    a, b = (
        estimate(e, "quality_difference", arm="new", baseline="old").parts[0] for e in (found, twice)
    )
    assert a == b
