"""What a change of code did, from sentinels before and after it."""

import numpy as np
import pytest

from harness.analysis.gate import Pair, judge
from harness.outcome import Curve, Table
from harness.records.record import Record
from harness.trial import Trial
from harness.workload import Metric

METRICS = {
    "test_loss": Metric(label="test loss", cap="trivial_loss", compared=True),
    "flops": Metric(label="FLOPs", compared=True),
    "seconds": Metric(label="time", unit="s"),
}


def record(loss=2.0, status="completed", train=(3.0, 2.5), flops=1e9, probe=None, seconds=1.0):
    return Record(
        trial=Trial(workload="toy", config={}, seed=0), status=status,
        metrics={"test_loss": loss if status == "completed" else None, "flops": flops, "seconds": seconds},
        curves={"train_loss": Curve(steps=[1, 2], values=list(train))},
        probes={"p": Table(columns=["value"], rows=[[probe]])} if probe is not None else {},
    )  # fmt: skip


def pairs(before, after, cells=("small", "middle")):
    """One pair a cell and seed from losses of shape (cells, seeds); None: not run."""
    return [
        Pair(
            cell=cell, seed=s, before=record(b, train=(3.0, b)),
            after=None if a is None else record(a, train=(3.0, a)),
        )
        for cell, bs, as_ in zip(cells, before, after, strict=False)
        for s, (b, a) in enumerate(zip(bs, as_, strict=True))
    ]


LOSSES = np.array([[2.0, 2.03, 1.98], [1.8, 1.82, 1.79]])


def judged(after, before=LOSSES, seed_sd=0.025, **kwargs):
    return judge("s", "muon", pairs(before, after), METRICS, seed_sd, **kwargs)


def test_equal_bits_are_identical_whatever_time_they_took():
    two = [Pair(cell="c", seed=0, before=record(seconds=1.0), after=record(seconds=9.0))]
    assert judge("s", "a", two, METRICS, 0.02).status == "identical"


def test_absent_sentinels_are_missing_never_identical():
    assert judged([[None] * 3, [None] * 3]).status == "missing"


def test_a_consistent_loss_of_quality_is_a_regression_and_a_gain_an_improvement():
    noise = np.array([[0.001, -0.001, 0.0], [0.002, 0.0, -0.001]])
    assert judged(LOSSES + 0.05 + noise).status == "regression"
    assert judged(LOSSES - 0.05 + noise).status == "improvement"


def test_rounding_that_chaos_amplified_is_equivalent():
    assert judged(LOSSES + np.array([[0.002, -0.003, 0.001], [-0.002, 0.001, 0.002]])).status == "equivalent"


def test_noise_as_large_as_the_seeds_own_is_unresolved():
    assert judged(LOSSES + np.array([[0.08, -0.07, 0.03], [-0.05, 0.09, 0.01]])).status == "unresolved"


def test_one_seed_says_changed_and_judges_nothing():
    (only,) = judge("s", "a", pairs([[2.0]], [[2.4]]), METRICS, 0.02),
    assert only.status == "changed" and "one seed cannot judge" in only.why


def test_a_sure_but_negligible_difference_is_no_regression():
    assert judged(LOSSES + 0.001 + 1e-6 * np.arange(6).reshape(2, 3)).status == "equivalent"


def test_a_trial_that_diverges_now_is_a_regression_at_once():
    one = [Pair(cell="c", seed=0, before=record(), after=record(status="diverged"))]
    found = judge("s", "a", one, METRICS, 0.02)
    assert found.status == "regression" and "completed -> diverged" in found.why


def test_other_losses_after_the_same_training_mean_that_the_measure_changed():
    one = [Pair(cell="c", seed=0, before=record(2.0), after=record(1.5))]
    found = judge("s", "a", one, METRICS, 0.02)
    assert found.status == "regression" and "training is bit-identical" in found.why


@pytest.mark.parametrize("after", [record(flops=2e9), record(probe=2.0)])
def test_flops_and_probes_are_compared_and_listed(after):
    one = [Pair(cell="c", seed=0, before=record(probe=1.0 if after.probes else None), after=after)]
    found = judge("s", "a", one, METRICS, 0.02)
    assert found.status == "changed" and found.differences


def test_a_metric_of_which_more_is_better_regresses_downwards():
    psnr = {"test_loss": Metric(label="PSNR", unit="dB", cap="trivial", compared=True, better="higher")}
    found = judge("s", "a", pairs(LOSSES, LOSSES - 0.05 + 1e-4 * np.arange(6).reshape(2, 3)), psnr, 0.025)
    assert found.status == "regression"


def test_false_alarms_are_rare_over_re_samplings_of_the_same_code():
    """Eight arms a time, differences drawn from one distribution: at most 1 % of 300 gates say regression."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        statuses = []
        for _ in range(8):
            after = LOSSES + generator.normal(0, 0.02, LOSSES.shape)
            statuses.append(judged(after, tests=8).status)
        alarms += "regression" in statuses
    assert alarms <= 3
