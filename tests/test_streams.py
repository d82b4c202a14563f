"""The whole key reaches every draw, and draws are the same numbers everywhere."""

from __future__ import annotations

import pytest
import torch

from harness.streams import Streams


@pytest.mark.parametrize("bit", [0, 31, 32, 63, 64, 127])
def test_keys_that_differ_in_any_bit_give_other_draws(bit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's CPU generator takes 32 bits of a seed, so normals are not drawn by it."""
    streams = Streams(0, "s")
    key = streams.key("init", "w")
    assert key >> 120
    normal, integers = streams.normal("init", "w", (32,)), streams.integers("init", "w", 10**9, 32)
    monkeypatch.setattr(Streams, "key", lambda *_: key ^ (1 << bit))
    assert not bool((streams.normal("init", "w", (32,)) == normal).any())
    assert not (streams.integers("init", "w", 10**9, 32) == integers).any()


def test_normals_are_unit_normals_without_correlation() -> None:
    x = Streams(0, "s").normal("init", "w", (400, 500))
    assert x.dtype == torch.float32
    n = x.numel()
    # Five standard errors of each moment, and of the correlation of neighbours.
    assert abs(x.mean()) < 5 / n**0.5
    assert abs(x.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 5 * (96 / n) ** 0.5
    assert abs((x[:, 1:] * x[:, :-1]).mean()) < 5 / n**0.5


def test_draws_are_these_numbers() -> None:
    """As numpy draws them (Philox; normals by its ziggurat): another version that drew otherwise would be told."""
    streams = Streams(7, "width=8")
    assert streams.integers("batch", 3, 1000, 6).tolist() == [23, 399, 876, 601, 143, 938]
    assert streams.normal("init", "w", (2, 2)).tolist() == [
        [-0.9124651551246643, 0.6987689733505249], [1.917606234550476, -0.3858382999897003],
    ]  # fmt: skip
