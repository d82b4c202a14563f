"""One rule against another within the same runs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.errors import ClaimError
from tests.analysis.records import estimate, trials

SEEDS = 5


def probes(of_rule):
    """Two layers a run at two checkpoints; the first one's values are others."""
    return pd.DataFrame(
        [
            {
                "identity": f"{arm}-d24-{seed}", "suite": "s", "arm": arm, "role": "evaluation", "seed": seed,
                "size": "d24", "probe": "geometry", "layer": layer, "step": step, "rule": rule,
                "value": of_rule(rule, seed, layer) + (100.0 if step == 0 else 0.0),
            }
            for arm in ("adamw", "muon")
            for seed in range(SEEDS)
            for layer in (0, 1)
            for step in (0, 10)
            for rule in ("norms", "random")
        ]
    )  # fmt: skip


NOISE = np.random.default_rng(0).normal(0, 0.02, (SEEDS, 2, 2))


def of_rule(rule, seed, layer):
    return (0.3 if rule == "norms" else 0.7) + NOISE[seed, layer, int(rule == "random")] + 0.2 * seed


def found(**more):
    table = trials(sizes=("d24",), seeds=SEEDS)
    given = {"arm": "muon", "column": "rule", "of": "norms", "against": "random", "probe": "geometry", **more}
    return estimate(table, "probe_contrast", probes=probes(of_rule), **given)


def test_a_contrast_is_a_paired_t_over_seeds_of_means_over_layers():
    each = [np.mean([of_rule("norms", s, n) - of_rule("random", s, n) for n in (0, 1)]) for s in range(SEEDS)]
    part = found().parts[0]
    assert part.value == pytest.approx(np.mean(each)) and part.df == SEEDS - 1
    assert part.se == pytest.approx(stats.sem(each))


def test_without_a_second_rule_it_is_the_value_itself():
    each = [np.mean([of_rule("norms", s, n) for n in (0, 1)]) for s in range(SEEDS)]
    assert found(against=None).parts[0].value == pytest.approx(np.mean(each))


def test_a_rule_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ClaimError, match=r"no rule 'best'; choose from norms"):
        found(against="best")
