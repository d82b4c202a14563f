"""The denoising UNet: sizes and FLOPs by formula against torch's own count, v-prediction, and its blindness."""

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from harness.models.denoiser import UNet, clean, initialise
from harness.models.denoiser_size import DenoiserSize
from harness.streams import Streams

SIZES = (
    DenoiserSize(),
    DenoiserSize(widths=(8, 16), blocks=2, patch=1, groups=4, frequencies=3),
    DenoiserSize(widths=(8,), groups=2, patch=4),
)
TINY = DenoiserSize(widths=(8, 16), groups=4, frequencies=4)


def network(size=TINY, seed=0, random=True):
    net = UNet(size)
    initialise(net, Streams(seed, ""))
    if random:
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.add_(Streams(seed, "").normal("test", name, tuple(p.shape)), alpha=0.1)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_parameters_and_flops_are_those_of_the_formula(size):
    net = network(size)
    assert sorted(tuple(p.shape) for p in net.parameters()) == sorted(shape for _, shape in size.shapes())
    height, width = 2 * size.multiple, 3 * size.multiple
    with FlopCounterMode(display=False) as counted:
        net(torch.zeros(1, 3, height, width), torch.zeros(1))
    assert counted.get_total_flops() == size.flops(height, width)


def test_the_default_is_the_small_one_of_the_suite():
    assert sum(p.numel() for p in UNet(DenoiserSize()).parameters()) == pytest.approx(0.78e6, rel=0.01)
    assert DenoiserSize().multiple == 8


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_before_training_it_predicts_no_v(size):
    net = network(size, random=False)
    x = torch.randn(2, 3, size.multiple, 2 * size.multiple, generator=torch.Generator().manual_seed(0))
    assert not net(x, torch.tensor([-3.0, 5.0])).any()


def test_the_right_v_gives_the_image_back():
    generator = torch.Generator().manual_seed(0)
    x0, e = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 3, 8, 8, generator=generator)
    for a in (0.01, 0.3, 0.9):
        noisy, v = a**0.5 * x0 + (1 - a) ** 0.5 * e, a**0.5 * e - (1 - a) ** 0.5 * x0
        torch.testing.assert_close(clean(noisy, v, a), x0, rtol=1e-4, atol=1e-5)
        assert (clean(noisy, -v, a) - x0).abs().max() > 0.1


def test_an_images_answer_hangs_on_its_own_noise_level_and_not_on_its_neighbours():
    net = network()
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([-4.0, 0.0, 6.0])
    together = net(x, levels)
    for i in range(3):
        torch.testing.assert_close(net(x[i : i + 1], levels[i : i + 1]), together[i : i + 1], rtol=1e-4, atol=1e-5)
    assert (net(x, levels + 1) - together).abs().max() > 1e-3


def test_every_parameter_takes_part():
    net = network().requires_grad_(True)
    net(torch.randn(2, 3, 16, 16), torch.tensor([-1.0, 2.0])).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_first_weights_hang_on_seed_and_name():
    a, b, c = (network(seed=s, random=False).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["first.weight"], c["first.weight"])
    assert float(a["first.weight"].var()) == pytest.approx(1 / (12 * 9), rel=0.2)


def test_widths_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValidationError, match=r"widths \[48, 66\]: 66 is no multiple of groups 8"):
        DenoiserSize(widths=(48, 66))
