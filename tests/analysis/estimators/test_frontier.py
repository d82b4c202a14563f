"""Gaps to a frontier in closed form; times that were not reached are no times."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis import lookup
from harness.analysis.evidence import Evidence
from harness.errors import ClaimError
from harness.workload import Metric


def rows(arm, budget, costs, losses, **columns):
    return [
        {"arm": arm, "role": "evaluation", "status": "completed", "seed": s, "identity": f"{arm} {budget} {s}",
         "budget": budget, "expert_evaluations": c, "test_loss": y, "numerics_class": "n", **columns}
        for s, (c, y) in enumerate(zip(costs, losses, strict=True))
    ]  # fmt: skip


def evidence(*groups):
    metrics = {"test_loss": Metric(label="test loss", unit="nats per token")}
    frame = pd.DataFrame([row for group in groups for row in group])
    return Evidence(trials=frame, size_axis="budget", metrics=metrics, claim="c")


def frontier(seeds=3):
    """Each seed's loss falls by .1 an octave of cost, from its own height."""
    return [
        row
        for budget in (1, 2, 4)
        for row in rows(
            "fixed", budget, [budget] * seeds, [2.0 + 0.05 * s - 0.1 * np.log2(budget) for s in range(seeds)]
        )
    ]


def gap(*groups, **arguments):
    return lookup.run(evidence(*groups), {"name": "frontier_gap", "arm": "free", "frontier": "fixed", **arguments})


def test_the_gap_is_taken_at_the_trials_own_cost_on_its_own_seeds_line():
    costs = [2.0, 2.0 * 2**0.5, 1.5]
    on_line = [2.0 + 0.05 * s - 0.1 * np.log2(c) for s, c in enumerate(costs)]
    found = gap(
        frontier(), rows("free", 2, costs, [y + d for y, d in zip(on_line, (0.02, 0.03, 0.04), strict=True)])
    )
    (part,) = found.parts
    assert part.value == pytest.approx(0.03) and part.df == 2
    assert part.se == pytest.approx(0.01 / 3**0.5)
    assert found.unit == "nats per token" and found.num_seeds == 3 and found.num_trials == 3 + 9


def test_every_budget_is_a_part_of_its_own():
    groups = [
        rows("free", b, [b, b], [2.0 - 0.1 * np.log2(b) + d, 2.05 - 0.1 * np.log2(b) - d])
        for b, d in ((2, 0.1), (3, 0.2))
    ]
    found = gap(frontier(), *groups)
    assert [p.label for p in found.parts] == ["2", "3"] and [p.value for p in found.parts] == pytest.approx([0, 0])


def test_outside_the_frontiers_range_nothing_is_said():
    with pytest.raises(
        ClaimError, match=r"free in 2 spent 5 \(expert_evaluations\), outside the frontier's 1 to 4"
    ):
        gap(frontier(), rows("free", 2, [2, 5], [2.0, 2.0]))


def test_a_frontier_needs_cells_and_common_seeds():
    with pytest.raises(ClaimError, match="a frontier needs two or more"):
        gap(rows("fixed", 1, [1, 1], [2.0, 2.0]), rows("free", 2, [1, 1], [2.0, 2.0]))
    with pytest.raises(ClaimError, match="has 1 seeds in common"):
        gap(frontier(1), rows("free", 2, [2, 2], [2.0, 2.0]))


def times(reached=1.0):
    return evidence(
        rows("fast", 2, [2, 2, 2], [2.0] * 3, steps=10.0, there=1.0),
        [
            {**r, "steps": 20.0 + r["seed"], "there": 1.0 if r["seed"] else reached}
            for r in rows("slow", 2, [2] * 3, [2.0] * 3)
        ],
    )


def test_a_ratio_of_times_is_refused_where_one_was_not_reached():
    asked = {"name": "time_ratio", "arm": "fast", "baseline": "slow", "metric": "steps", "reached": "there"}
    found = lookup.run(times(), asked)
    assert np.exp(found.parts[0].value) == pytest.approx(10 / (20 * 21 * 22) ** (1 / 3))
    with pytest.raises(ClaimError, match=r"1 of 3 trials of 'slow' never got there, so the ratio is a bound"):
        lookup.run(times(reached=0.0), asked)
