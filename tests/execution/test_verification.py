"""Numbers of a trial with a plug-in, recomputed from its weights in another process."""

import pytest

from harness import plugins
from harness.execution.executors.inline import InlineExecutor
from harness.execution.executors.local import LocalExecutor
from harness.execution.verification import is_due
from tests.execution.language_bench import LanguageBench, optimizer


def run(bench, job):
    return next(InlineExecutor().run([job], bench.folders, lambda *_: None))[1]


def test_a_truthful_record_says_how_it_was_verified(bench):
    record = run(bench, bench.job())
    assert record.status == "completed" and record.plugins == {"plugin.py": bench.plugin.digest}
    assert record.verified == "with the plug-in, loaded after the evaluation code"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("lie", "total was 4.5 in the trial, and is 5.5 recomputed from its weights with the plug-in, loaded"),
        ("no weights", "its losses could not be recomputed from its weights"),
        ("evaluation dies", "could not be recomputed from its weights: the trial's process ended with exit code 7"),
    ],
)
def test_a_record_whose_numbers_do_not_come_again_is_crashed_and_keeps_none(bench, fault, told):
    record = run(bench, bench.job(seed=2, fault=fault))
    assert record.status == "crashed" and told in record.reason
    assert not record.metrics and not record.artifacts and record.verified == ""


def test_a_result_that_a_killed_runner_left_unverified_is_verified_and_not_computed_again(bench):
    job = bench.job()
    left = bench.run(job)
    assert is_due(job, left)
    record = run(bench, job)
    assert record.verified and record.metrics == left.metrics and len(bench.lines("begin")) == 1
    assert not is_due(job, record) and run(bench, job) == record


def test_a_trial_without_plugins_is_due_for_nothing(bench):
    job = bench.job(plugins=())
    assert not is_due(job, bench.run(job))


# --- a language model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return LanguageBench(tmp_path_factory.mktemp("language"))


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(workers=1) as machine:
        yield machine


SCHEDULE_FREE = """
        class Averaging(torch.optim.SGD):
            def train(self):
                self.swap(0.5)
            def eval(self):
                self.swap(2.0)
            def swap(self, factor):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.data.mul_(factor)
        optimizer = Averaging([p for g in groups for p in g.parameters], lr=self.lr)"""
MUP = {"parametrization": {"name": "mup", "form": "table8"}, "model": {"base_width": 8, "base_depth": 1}}


@pytest.mark.parametrize(
    ("deed", "sections"),
    [("pass", {}), ("pass", MUP), (SCHEDULE_FREE, {})],
    ids=["an optimizer", "forward multipliers", "switches"],
)
def test_an_optimizers_losses_come_again_without_it(language, executor, tmp_path, deed, sections):
    plugin = optimizer(tmp_path, deed)
    record = language.run(executor, language.job("mine", plugin, **sections))[0]
    assert record.status == "completed", record.reason
    assert record.verified == "without the plug-in" and record.plugins == {"mine.py": plugin.digest}


BY_FAMILY = """

@register("parametrization")
@dataclass(frozen=True, kw_only=True)
class Half:
    '''The readout's output, halved for families other than Adam's.'''

    def scaling(self, shape, family):
        from dataclasses import replace
        from baselines.parametrizations.standard import Standard
        half = 0.5 if family == "sgd" and shape.role == "readout" else 1.0
        return replace(Standard().scaling(shape, family), forward=half)

    def attention_scale(self, head_width, base_head_width):
        return head_width**-0.5

    def residual_scale(self, depth, base_depth):
        return 1.0
"""


def test_the_network_is_that_of_the_family_that_trained_it(language, executor, tmp_path):
    path = optimizer(tmp_path, family="sgd").path
    path.write_text(path.read_text().replace('@register("optimizer")', '@register("optimizer", name="falling")'))
    path.write_text(path.read_text() + BY_FAMILY)
    kinds = ("optimizer", "parametrization")
    job = language.job("falling", plugins.read(path), kinds=kinds, parametrization={"name": "mine"})
    record = language.run(executor, job)[0]
    assert record.status == "completed", record.reason
    assert record.verified == "with the plug-in, loaded after the evaluation code"


NORM = """
from dataclasses import dataclass
from torch import nn
from harness.registry import register

@register("norm")
@dataclass(frozen=True, kw_only=True)
class Plain:
    def build(self, width, site):
        return nn.LayerNorm(width)

    def embedding_scale(self, width):
        return None
"""


def test_a_norm_is_loaded_after_the_evaluations_code_and_the_record_says_so(language, executor, tmp_path):
    path = tmp_path / "plain.py"
    path.write_text(NORM)
    job = language.job("adamw", plugins.read(path), kinds=("norm",), norm={"name": "plain"})
    record = language.run(executor, job)[0]
    assert record.status == "completed", record.reason
    assert record.verified == "with the plug-in, loaded after the evaluation code"
