"""What a change of code did, from sentinels before and after it."""

import numpy as np
import pytest

from harness.analysis.gate import Noise, Pair, judge, undecided
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
NOISE = Noise(sd=0.025, df=40)


def judged(after, before=LOSSES, noise=NOISE, **kwargs):
    return judge("s", "muon", pairs(before, after), METRICS, noise, **kwargs)


def one(before, after, noise=NOISE, metrics=METRICS, **fields):
    """The judgement of a single pair."""
    return judge("s", "a", [Pair(cell="c", seed=0, before=before, after=after, **fields)], metrics, noise)


def test_equal_bits_are_identical_whatever_time_they_took():
    assert one(record(seconds=1.0), record(seconds=9.0)).status == "identical"


def test_absent_sentinels_are_missing_never_identical():
    assert judged([[None] * 3, [None] * 3]).status == "missing"


@pytest.mark.parametrize("lost", [(0, 0), (1, 0), (1, 2)])
def test_one_lost_sentinel_is_not_made_up_for_by_the_others(lost):
    after = LOSSES.tolist()
    after[lost[0]][lost[1]] = None
    found = judged(after)
    assert found.status == "missing" and "1 of 6 sentinels" in found.why


@pytest.mark.parametrize(
    ("before", "after"),
    [("crashed", "crashed"), ("crashed", "completed"), ("skipped", "skipped"), ("completed", "skipped")],
)
def test_a_side_without_an_outcome_is_missing_whatever_the_other_says(before, after):
    assert one(record(status=before), record(status=after)).status == "missing"


def test_a_regression_shows_although_another_sentinel_is_missing():
    after = (LOSSES + 0.1).tolist()
    after[1][2] = None
    assert judged(after).status == "regression"


def test_a_consistent_loss_of_quality_is_a_regression_and_a_gain_an_improvement():
    noise = np.array([[0.001, -0.001, 0.0], [0.002, 0.0, -0.001]])
    assert judged(LOSSES + 0.05 + noise).status == "regression"
    assert judged(LOSSES - 0.05 + noise).status == "improvement"


def test_rounding_that_chaos_amplified_is_equivalent():
    assert judged(LOSSES + np.array([[0.002, -0.003, 0.001], [-0.002, 0.001, 0.002]])).status == "equivalent"


def test_noise_as_large_as_the_seeds_own_is_unresolved():
    assert judged(LOSSES + np.array([[0.08, -0.07, 0.03], [-0.05, 0.09, 0.01]])).status == "unresolved"


def test_one_seed_is_judged_by_the_noise_of_the_reference_alone():
    """Sqrt 2 of the seed sd bounds a difference: 4.8 sds beyond it are a regression, one is not."""
    assert judged([[2.4]], [[2.0]]).status == "regression"
    assert judged([[2.03]], [[2.0]]).status == "unresolved"
    assert judged([[2400.0]], [[2.4]]).status == "regression"
    only = judged([[2.4]], [[2.0]], noise=None)
    assert only.status == "changed" and "no seed sd" in only.why


def test_three_seeds_call_what_their_own_spread_could_not():
    """Nesterov turned off moved Muon's sentinels by 2.5 seed sds; df 4 alone could not call that."""
    shift = np.array([[0.02, 0.10, 0.06], [0.03, 0.10, 0.07]])
    assert judged(LOSSES + shift, tests=8).status == "regression"
    assert judged(LOSSES + shift, tests=8, noise=None).status == "unresolved"


def test_further_seeds_are_asked_for_where_they_could_tell_more():
    assert undecided(pairs([[2.0]], [[2.01]]), METRICS)
    assert not undecided(pairs([[2.0]], [[2.0]]), METRICS)
    assert not undecided(pairs([[2.0]], [[None]]), METRICS)
    assert not undecided([Pair(cell="c", seed=0, before=record(), after=record(flops=2.0))], METRICS)


def test_a_sure_but_negligible_difference_is_no_regression():
    assert judged(LOSSES + 0.001 + 1e-6 * np.arange(6).reshape(2, 3)).status == "equivalent"


def test_a_trial_that_diverges_now_is_a_regression_at_once():
    found = one(record(), record(status="diverged"))
    assert found.status == "regression" and "completed -> diverged" in found.why


def test_a_completed_trial_without_its_result_is_a_regression():
    lost = record().model_copy(update={"metrics": {"test_loss": None, "flops": 1e9}})
    found = one(record(), lost)
    assert found.status == "regression" and "no number" in found.why


def test_other_losses_after_the_same_training_mean_that_the_measure_changed():
    found = one(record(2.0), record(1.5))
    assert found.status == "regression" and "training is the same" in found.why


@pytest.mark.parametrize("by", [2**-51, 1e-7])
def test_rounding_in_the_measure_alone_is_no_regression(by):
    six = [Pair(cell=c, seed=s, before=record(2.0), after=record(2.0 + by)) for c in "ab" for s in range(3)]
    assert undecided(six[:1], METRICS), "one seed leaves it open"
    found = judge("s", "a", six, METRICS, NOISE)
    assert found.status == "equivalent" and found.differences


@pytest.mark.parametrize("after", [record(flops=2e9), record(probe=2.0)])
def test_flops_and_probes_are_compared_and_listed(after):
    found = one(record(probe=1.0 if after.probes else None), after)
    assert found.status == "changed" and found.differences


@pytest.mark.parametrize("kind", ["curves", "probes", "tables"])
def test_curves_probes_and_tables_that_differ_or_are_gone_are_listed(kind):
    table, other = (Table(columns=["a", "seconds"], rows=[[value, 2.0]]) for value in (1, 2))
    if kind == "curves":
        table, other = Curve(steps=[1], values=[1.0]), Curve(steps=[1], values=[2.0])

    def having(**content):
        return record().model_copy(update={kind: {**getattr(record(), kind), **content}})

    (gone,) = one(having(x=table), having()).differences
    (differs,) = one(having(x=table), having(x=other)).differences
    assert gone == f"c seed 0: {kind[:-1]} x is gone" and differs == f"c seed 0: {kind[:-1]} x"
    assert not one(having(), having(x=table)).differences, "an addition is no difference"
    if kind != "curves":
        later = Table(columns=table.columns, rows=[[1, 3.0]])
        assert not one(having(x=table), having(x=later)).differences, "clocks may differ"


def test_a_config_that_the_suite_asks_otherwise_is_a_difference():
    found = one(record(), record(), altered=("optimizer.lr 0.1 -> 0.2",))
    assert found.status == "changed" and "optimizer.lr 0.1 -> 0.2" in found.differences[0]


def test_a_metric_of_which_more_is_better_regresses_downwards():
    psnr = {"test_loss": Metric(label="PSNR", unit="dB", cap="trivial", compared=True, better="higher")}
    found = judge("s", "a", pairs(LOSSES, LOSSES - 0.05 + 1e-4 * np.arange(6).reshape(2, 3)), psnr, NOISE)
    assert found.status == "regression"


@pytest.mark.parametrize("df", [6, 44])
@pytest.mark.parametrize("sds", [np.array([0.02, 0.02]), np.array([0.03, 0.01])])
def test_false_alarms_are_rare_over_re_samplings_of_the_same_code(sds, df):
    """Eight arms a time, before and after drawn alike and apart, as chaos makes them at worst."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        statuses = []
        for _ in range(8):
            before = generator.normal(2.0, sds[:, None], (2, 3))
            noise = Noise(sd=float(np.sqrt(np.mean(sds**2) * generator.chisquare(df) / df)), df=df)
            after = generator.normal(2.0, sds[:, None], (2, 3))
            statuses.append(judged(after, before, noise, tests=8).status)
        alarms += not {"regression", "improvement"}.isdisjoint(statuses)
    assert alarms <= 9, "more than 1 % by more than chance: at 3 expected, 9 happen once in 250"
