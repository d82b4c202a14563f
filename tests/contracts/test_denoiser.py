"""Each clause of a denoiser's contract, broken once."""

import re

import pytest
import torch

from baselines.denoisers.gaussian import Gaussian
from harness.contracts.denoiser import check

CALLS = iter(range(10**6))
BREACHES = {
    "multiple is 0": {"multiple": 0},
    "expected 8 bytes": {"digest": b"short"},
    r"expected float32 \(2, 3, 8, 16\)": {"predict": lambda self, x, a: x[..., :4]},
    "torch.float64": {"predict": lambda self, x, a: x.double()},
    "is not finite": {"predict": lambda self, x, a: x / 0},
    "another answer the second time": {"predict": lambda self, x, a: x + next(CALLS)},
    "hangs on the others of its batch": {"predict": lambda self, x, a: x - x.mean(0, keepdim=True)},
    "changes the image": {"predict": lambda self, x, a: x.mul_(1 if a > 0.6 else 0).clone()},
    "draws random numbers": {"predict": lambda self, x, a: x + 0 * torch.randn(1)},
    "of an image without noise is": {"predict": lambda self, x, a: x * 0},
}


@pytest.mark.parametrize("told", BREACHES)
def test_a_breach_is_said_in_words(told):
    broken = type("Broken", (Gaussian,), BREACHES[told])()
    assert any(re.search(told, problem) for problem in check(broken)), list(check(broken))


def test_the_exact_one_has_none():
    assert list(check(Gaussian())) == []
