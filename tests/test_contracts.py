"""The contract of its kind, kept by every baseline; and each clause broken once."""

import pytest

from harness import contracts, registry

pytestmark = pytest.mark.usefixtures("clean_registry")

ENTRIES = [(e.kind, e.name) for e in registry.entries()]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_baseline_keeps_its_contract(kind, name):
    assert contracts.check_method(kind, name) == []


LION = """
from dataclasses import dataclass
import torch
from harness.registry import register

class _Lion(torch.optim.Optimizer):
    def __init__(self, groups, wd):
        super().__init__(groups, {"lr": 0.0, "wd": wd})

    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            for p in g["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                u = (0.9 * m + 0.1 * p.grad).sign()
                p.mul_(1 - g["lr"] * g["wd"]).sub_(u, alpha=g["lr"])
                m.lerp_(p.grad, 0.01)

@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Lion:
    lr: float = 1e-3
    weight_decay: float = 0.1

    def family(self, role):
        return "adam"

    def build(self, groups):
        return _Lion([{"params": g.parameters, "lr": self.lr * g.scaling.lr} for g in groups], self.weight_decay)

    def flops_per_step(self, shapes):
        return 6.0 * sum(torch.Size(s).numel() for _, s in shapes)
"""


def check(plugin, text):
    registry.load_plugin(plugin(text, "my_lion.py"))
    return contracts.check_method("optimizer", "my_lion")


def test_an_optimizer_as_a_user_would_write_it_passes(plugin):
    assert check(plugin, LION) == []


SWITCHES = """
    training = False

    def train(self):
        self.training = True

    @torch.no_grad()
    def eval(self):
        for g in self.param_groups:
            for p in g["params"]:
                p.add_(self.state[p]["m"])

    @torch.no_grad()
    def step(self, closure=None):
        assert self.training
"""


def test_an_optimizer_that_evaluates_other_weights_than_it_trains_passes(plugin):
    step = "\n    @torch.no_grad()\n    def step(self, closure=None):\n"
    assert step in LION
    assert check(plugin, LION.replace(step, SWITCHES)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("for g in groups]", "for g in groups[1:]]", "parameters p0 are in no group"),
        ("self.lr * g.scaling.lr", "self.lr", "scaling.lr of the groups is ignored"),
        ('.sub_(u, alpha=g["lr"])', ".sub_(u * float('nan'))", "is not finite after 3 steps"),
        (
            'm = self.state[p].setdefault("m", torch.zeros_like(p))',
            "m = self.__dict__.setdefault(id(p), torch.zeros_like(p))",
            "a run resumed from it differs",
        ),
        (
            "(0.9 * m + 0.1 * p.grad).sign()",
            "(0.9 * m + 0.1 * p.grad + torch.randn_like(p)).sign()",
            "two runs on equal",
        ),
        ('return "adam"', 'return "lion"', "family('embedding') is 'lion'"),
        ("6.0 *", "0.0 *", "flops_per_step is 0.0"),
        ("def flops_per_step", "def flops", "lacks flops_per_step"),
        ("    @torch.no_grad()\n", "    def eval(self): ...\n\n    @torch.no_grad()\n", "eval() but no train()"),
        (
            "    @torch.no_grad()\n",
            "    def train(self): ...\n\n    def eval(self):\n        self.state.clear()\n\n    @torch.no_grad()\n",
            "evaluated after each step differs",
        ),
        ("lr: float = 1e-3\n", "lr: float = 1e-3\n    beta: float\n", "field 'beta' needs a default"),
    ],
)
def test_each_broken_clause_is_named(plugin, old, new, message):
    assert old in LION
    problems = check(plugin, LION.replace(old, new))
    assert any(message in p for p in problems), problems
