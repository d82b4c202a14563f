"""A user's router of thirty lines: checked, compared with baselines by one command, caught where it cheats."""

import json
import re

import pytest

from harness import contracts, registry
from tests.terminal import SMALL, harness

ROUTER = '''
from dataclasses import dataclass

import torch

from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class Proportional:
    """Top-k of score + bias; the bias falls in proportion to the load."""

    rate: float = 0.02

    fixed = True

    def init(self, num_experts, active, logit_std):
        from harness.errors import HarnessError
        if active != int(active) or not 1 <= active <= num_experts:
            raise HarnessError(f"experts.active {active}: a whole number from 1 to {num_experts}")
        return {"bias": torch.zeros(num_experts)}

    def route(self, logits_BTE, state, active):
        scores = logits_BTE.sigmoid().flatten(0, 1)
        best = (scores.detach() + state["bias"]).topk(int(active), -1).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
        return Routing(chosen_NE=chosen, gates_NE=scores, sums={"counts": chosen.sum(0)})

    def update(self, state, sums, num_tokens, active):
        share = sums["counts"] / sums["counts"].sum()
        return {"bias": state["bias"] - self.rate * (share * len(share) - 1)}
'''
ORDER = 'best = (scores.detach() + state["bias"]).topk(int(active), -1).indices'
SCORES = "scores = logits_BTE.sigmoid().flatten(0, 1)"
COUNTS = '{"counts": chosen.sum(0)}'
NEW = 'return {"bias": state["bias"] - self.rate * (share * len(share) - 1)}'
CHEATS = {
    "a batch's own threshold": (ORDER, ORDER.replace('+ state["bias"]', "- scores.detach().mean(0)"), "a leak"),
    "a state that route changes": (SCORES, f'state["bias"] += 1e-3; {SCORES}', "route changes its state"),
    "an update in place": (NEW, f'state["bias"] -= 1; {NEW}', "changes the old state"),
    "random choices": (
        SCORES, SCORES.replace("logits_BTE", "(logits_BTE + torch.randn_like(logits_BTE))"), "draws random numbers",
    ),
    "gates without a gradient": ("gates_NE=scores,", "gates_NE=scores.detach(),", "no finite gradient"),
    "gates in double": ("gates_NE=scores,", "gates_NE=scores.double(),", "expected float32"),
    "too many experts": (ORDER, ORDER.replace("int(active)", "int(active) + 1"), r"have \[3\] experts; expected 2"),
    "counts as floats": (COUNTS, '{"counts": chosen.float().sum(0)}', "is not chosen_NE.sum"),
    "sums that do not add": (
        COUNTS, '{"counts": chosen.sum(0), "most": scores.amax(0)}', "do not add to the whole's",
    ),
    "a state in half precision": ("torch.zeros(num_experts)", "torch.zeros(num_experts).half()", "must be float32"),
    "a state that is lost": (NEW, "return {}", "update returns"),
    "any budget": ("not 1 <= active <= num_experts", "False", "init takes a budget of 9 of 8 experts"),
}  # fmt: skip


@pytest.mark.usefixtures("clean_registry")
def test_a_router_as_a_user_would_write_it_keeps_the_contract(plugin):
    assert len(ROUTER.strip().splitlines()) <= 40
    registry.load_plugin(plugin(ROUTER, "proportional.py"))
    assert contracts.check_method("router", "proportional") == []


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize("name", CHEATS)
def test_every_clause_of_the_contract_is_broken_once(plugin, name):
    right, wrong, told = CHEATS[name]
    assert ROUTER.count(right) == 1
    registry.load_plugin(plugin(ROUTER.replace(right, wrong), "proportional.py"))
    problems = contracts.check_method("router", "proportional")
    assert any(re.search(told, p) for p in problems), problems


def test_one_command_compares_it(plugin, text, tmp_path):
    method = plugin(ROUTER, "proportional.py")
    results = tmp_path / "results"
    words = [
        "profile=smoke",
        text,
        *SMALL,
        "--suite",
        "moe_balancing",
        "--against",
        "loss_free",
        "--results",
        results,
    ]
    done = harness("compare", method, *words)
    folder = results / "compare" / "moe_balancing_with_proportional"
    (claim,) = json.loads((folder / "report.json").read_text())["claims"]
    assert claim["id"] == "proportional_below_loss_free" and claim["num_seeds"] == 2
    assert str(folder) in done.stdout
    records = [json.loads(p.read_text()) for p in (results / "runs" / "records").rglob("*.json")]
    mine = [r for r in records if "proportional.py" in r["plugins"]]
    assert len(mine) == 2 and {r["verified"] for r in mine} == {
        "with the plug-in, loaded after the evaluation code"
    }
