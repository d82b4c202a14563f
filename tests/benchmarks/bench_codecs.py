"""Encoding and decoding 128 x 128 pixels against the denoiser's calls alone, interleaved, on one thread.

The denoiser is a stand-in of the embedded one's cost: a convolution that takes about 17 ms on this size. Run with

    pytest tests/benchmarks/bench_codecs.py --benchmark-enable -o python_files='bench_*.py' -s
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.codecs import _schedule
from harness.methods.construct import build

SIZE = (128, 128)
CONFIGS = {
    "ddcm T 100, K 256": ({"name": "ddcm", "steps": 100, "codewords": 256}, 1.15),
    "turbo T 20, K 16384, M 5": ({"name": "turbo"}, 1.25),
    "turbo T 20, K 16384, M 60": ({"name": "turbo", "atoms": 60}, 1.25),
}
"""Codec and the most that encoding may cost, in units of its denoiser calls."""
DECODING = 1.05
"""The most that decoding may cost."""
OFFICIAL = 3.0
"""How much faster than the published loop, which draws each step's codewords, DDCM must be."""


class Convolutions:
    """A denoiser of four convolutions at half resolution: the shrunken image plus a little of their output."""

    multiple = 2
    digest = b"bench\0\0\0"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for fan_in, fan_out in ((12, 96), (96, 144), (144, 96), (96, 12)):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.SiLU()]
        self.net = nn.Sequential(*layers[:-1], nn.PixelShuffle(2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for p in self.net.parameters():
            p.data = torch.randn(p.shape, generator=generator) * 0.03

    @torch.inference_mode()
    def predict(self, x_BCHW: Tensor, alpha_bar: float) -> Tensor:
        gain = alpha_bar**0.5 * 0.25 / (alpha_bar * 0.25 + 1 - alpha_bar)
        return (x_BCHW * gain).add_(self.net(x_BCHW), alpha=1e-3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def interleaved(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of this thread's CPU time, round by round in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.thread_time()
            work()
            if number:
                seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def image() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [127 + 100 * np.sin(rows / (9 + k)) * np.cos(columns / (11 - k)) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def calls_alone(denoiser: Convolutions, steps: int) -> Callable[[], None]:
    x = torch.randn(1, 3, *SIZE)

    def work() -> None:
        for step in _schedule.steps(steps):
            denoiser.predict(x, step.alpha_bar)

    return work


@pytest.mark.parametrize("name", CONFIGS)
def test_coding_against_the_denoisers_calls(benchmark, name: str) -> None:
    config, target = CONFIGS[name]
    codec, denoiser = build("codec", config), Convolutions()
    payload = codec.encode(image(), denoiser).payload
    works = {
        "calls": calls_alone(denoiser, config.get("steps", 20)),
        "encode": lambda: codec.encode(image(), denoiser),
        "decode": lambda: codec.decode(payload, SIZE, denoiser),
    }
    median = interleaved(works, rounds=7)
    encode, decode = (median[k] / median["calls"] for k in ("encode", "decode"))
    call = median["calls"] / len(_schedule.steps(config.get("steps", 20)))
    benchmark.extra_info.update(encode=encode, decode=decode, target=target, call_seconds=call)
    print(f"\n{name}: call {1e3 * call:.1f} ms; encoding {encode:.3f}x (at most {target}), "
          f"decoding {decode:.3f}x (at most {DECODING})")  # fmt: skip
    benchmark.pedantic(works["encode"], rounds=3)
    assert encode <= target
    assert decode <= DECODING


def official(denoiser: Convolutions, steps: int, K: int) -> Callable[[], None]:
    """The published loop: every step draws its K codewords and takes the best."""
    target = torch.from_numpy(image().transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)[None]

    @torch.inference_mode()
    def work() -> None:
        x = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(100_000))
        for step in _schedule.steps(steps):
            x0_hat = denoiser.predict(x, step.alpha_bar)
            words = torch.randn(K, 3, *SIZE, generator=torch.Generator().manual_seed(step.number))
            scores = (words * (target - x0_hat)).sum(dim=(1, 2, 3))
            x = step.past * x + step.data * x0_hat + step.noise * words[scores.argmax()]

    return work


def test_ddcm_against_the_published_loop(benchmark) -> None:
    codec, denoiser = build("codec", {"name": "ddcm", "steps": 20, "codewords": 256}), Convolutions()
    works = {"ours": lambda: codec.encode(image(), denoiser), "official": official(denoiser, 20, 256)}
    median = interleaved(works, rounds=3)
    ratio = median["official"] / median["ours"]
    benchmark.extra_info.update(ratio=ratio, target=OFFICIAL)
    print(f"\npublished loop over ours: {ratio:.2f} (at least {OFFICIAL})")
    benchmark.pedantic(works["ours"], rounds=3)
    assert ratio >= OFFICIAL
