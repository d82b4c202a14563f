"""A trained denoiser's folder: read as it was written, refused where it is not; and codecs on it."""

import json
import math

import numpy as np
import pytest
import torch

from baselines.denoisers.unet import UNet
from harness.codecs import coding
from harness.errors import DataError, HarnessError
from harness.methods import denoiser_files
from harness.methods.construct import build
from harness.models import denoiser as models
from harness.models.denoiser_size import DenoiserSize
from harness.streams import Streams

SIZE = DenoiserSize(widths=(8, 16), groups=4, frequencies=4)


def network(seed=0):
    net = models.UNet(SIZE)
    models.initialise(net, Streams(seed, ""))
    with torch.no_grad():
        net.readout.weight.copy_(Streams(seed, "").normal("test", "readout", tuple(net.readout.weight.shape)) / 30)
    return net


@pytest.fixture
def folder(tmp_path):
    denoiser_files.write(tmp_path, network(), {"fold": "a"})
    return tmp_path


def test_it_predicts_what_the_networks_v_means(folder):
    denoiser, x = UNet(folder=str(folder)), torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    for a in (0.001, 0.4, 0.999):
        v = network().eval()(x, torch.tensor([math.log(a / (1 - a))]))
        torch.testing.assert_close(denoiser.predict(x, a), models.clean(x, v, a), rtol=1e-5, atol=1e-6)
    assert denoiser.multiple == SIZE.multiple == 4


def test_the_digest_is_over_weights_and_sizes(folder, tmp_path_factory):
    there = denoiser_files.read(folder)
    assert len(there.digest) == 8 and there.about == {"fold": "a"}
    others = [tmp_path_factory.mktemp("other") for _ in range(2)]
    assert denoiser_files.write(others[0], network(), {"fold": "b"}) == there.digest
    assert denoiser_files.write(others[1], network(seed=1), {"fold": "a"}) != there.digest
    weights = network().state_dict()
    wider = SIZE.model_copy(update={"groups": 2})
    assert denoiser_files.digest_of(wider, weights) != denoiser_files.digest_of(SIZE, weights) == there.digest


def altered(folder, name, change):
    file = folder / name
    file.write_bytes(change(file.read_bytes()))


DAMAGES = {
    "no denoiser there \\(denoiser.json is missing\\)": lambda f: (f / "denoiser.json").unlink(),
    "no denoiser there \\(denoiser.safetensors is missing\\)": lambda f: (f / "denoiser.safetensors").unlink(),
    "a damaged denoiser": lambda f: altered(f, "denoiser.safetensors", lambda b: b[:100]),
    "a damaged denoiser \\(Unterminated": lambda f: altered(f, "denoiser.json", lambda b: b[:40] + b"x"),
    "was altered: their digest is not": lambda f: altered(
        f, "denoiser.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])
    ),
    "was altered": lambda f: altered(f, "denoiser.json", lambda b: b.replace(b'"groups": 4', b'"groups": 2')),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_folder_is_refused_with_its_cure(folder, said):
    DAMAGES[said](folder)
    with pytest.raises(DataError, match=f"{said}.*give the artifact folder of a finished image_denoiser trial"):
        denoiser_files.read(folder)


def test_weights_of_another_network_are_refused(folder):
    told = json.loads((folder / "denoiser.json").read_text())
    other = SIZE.model_copy(update={"widths": (8, 32)})
    weights = {k: t.contiguous() for k, t in network().state_dict().items()}
    told |= {"size": other.model_dump(mode="json"), "digest": denoiser_files.digest_of(other, weights).hex()}
    (folder / "denoiser.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="has not the parameters of the network"):
        denoiser_files.read(folder)


def test_without_a_folder_it_says_what_to_give():
    with pytest.raises(HarnessError, match="denoiser 'unet' needs its folder: give folder=PATH"):
        _ = build("denoiser", {"name": "unet"}).digest


def test_a_photograph_of_any_sides_goes_through_a_file_and_back(folder):
    image = np.random.default_rng(0).integers(0, 256, (13, 22, 3), dtype=np.uint8)
    denoiser = build("denoiser", {"name": "unet", "folder": str(folder)})
    encoded = coding.encode(build("codec", {"name": "ddcm", "steps": 5, "codewords": 16}), image, denoiser)
    decoded = coding.decode(encoded.file, denoiser)
    assert decoded.image.shape == (13, 22, 3) and not decoded.warning
    assert np.array_equal(decoded.image, encoded.encoded.reconstruction)
    with pytest.raises(HarnessError, match="it was made with denoiser"):
        coding.decode(encoded.file, UNet.example())
