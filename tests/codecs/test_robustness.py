"""Files that nobody wrote end in a clear error or a picture of the declared size, in bounded time and memory."""

import random
import resource
import time
import zlib

import numpy as np
import pytest

from harness import registry
from harness.codecs import coding, container
from harness.errors import HarnessError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import White

pytestmark = pytest.mark.usefixtures("clean_registry")

CONFIGS = (
    {"name": "ddcm", "steps": 6, "codewords": 16},
    {"name": "matching_pursuit", "steps": 5, "codewords": 16},
    {"name": "turbo", "steps": 5, "codewords": 64},
    {"name": "turbo", "steps": 5, "codewords": 64, "indices": "fixed", "quiet": 1},
    {"name": "diffc", "steps": 8, "stop": 400, "output": "flow"},
    {"name": "allocated", "steps": 6, "codewords": 256, "output": "sample"},
    {"name": "jpeg", "downsample": 2},
    {"name": "webp"},
    {"name": "avif"},
    {"name": "jpeg2000"},
)
MOST_PIXELS = 1 << 14
IMAGE = np.random.default_rng(0).integers(0, 256, (18, 25, 3), dtype=np.uint8)
EACH = -(-2000 // len(CONFIGS))


def mutated(file, others, rng):
    """The file with one to three faults of a kind: bits, bytes, cuts, insertions, another file's bytes, zeros."""
    data = bytearray(file)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(64, len(data)))
        kind = rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 6))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at : at + rng.randint(1, 8)] = rng.choice((b"\0", b"\xff")) * rng.randint(1, 8)
        elif kind == 3:
            del data[at : at + rng.randint(1, 16)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 5:
            other = rng.choice(others)
            data[at:] = other[min(at, len(other) - 1) :]
        else:
            data = data[: max(at, 1)]
        data = data or bytearray(b"\0")
    return bytes(data)


def resealed(data):
    """With magic, version and checksum as of a file that was written so."""
    body = container.MAGIC + bytes([container.VERSION]) + data[4:-4]
    return body + container.CRC.pack(zlib.crc32(body))


def test_every_codec_is_tried():
    assert {c["name"] for c in CONFIGS} == {e.name for e in registry.entries("codec")}


@pytest.mark.parametrize("seal", [False, True], ids=["as they are", "checksum recomputed"])
def test_mutated_files_end_in_an_error_or_a_picture_of_the_declared_size(seal):
    files = [coding.encode(build("codec", c), IMAGE, White()).file for c in CONFIGS]
    rng = random.Random(int(seal))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    errors = pictures = 0
    slowest = 0.0
    for file in files:
        for _ in range(EACH):
            data = mutated(file, files, rng)
            if seal:
                data = resealed(data)
            start = time.process_time()
            try:
                decoded = coding.decode(data, White(), MOST_PIXELS)
            except HarnessError as error:
                errors += 1
                assert str(error) and "\n" not in str(error)
            else:
                pictures += 1
                assert decoded.image.shape == (*container.unpack(data)[1].size, 3)
                assert decoded.image.size <= 3 * MOST_PIXELS
                # Without a valid checksum only a file as it was written decodes.
                assert seal or data in files
            slowest = max(slowest, time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert errors + pictures >= 2000
    assert errors > 1000
    assert (pictures > 200) == seal
    assert slowest < 5
    assert grown < 500
