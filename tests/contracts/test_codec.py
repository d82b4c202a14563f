"""A codec as a stranger would write it keeps the contract; and each clause broken once."""

import numpy as np
import pytest

from harness import contracts, registry
from harness.codecs import coding
from harness.errors import DamagedError
from harness.methods.construct import build

pytestmark = pytest.mark.usefixtures("clean_registry")

MINE = '''
"""Every pixel with its lowest bits cut off, deflated."""
import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.errors import DamagedError
from harness.methods.codec import Encoded
from harness.registry import register

@register("codec")
@dataclass(frozen=True, kw_only=True)
class Mine:
    trained: ClassVar[bool] = False
    cut: int = 3

    def encode(self, image, denoiser):
        kept = image >> self.cut
        payload = zlib.compress(kept.tobytes())
        return Encoded(payload=payload, bits=8 * len(payload), reconstruction=kept << self.cut)

    def decode(self, payload, size, denoiser):
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(payload, 3 * size[0] * size[1])
        except zlib.error as error:
            raise DamagedError(f"its payload is damaged: {error}") from None
        if len(raw) != 3 * size[0] * size[1] or not inflate.eof or inflate.unused_data:
            raise DamagedError("its payload has another length")
        return np.frombuffer(raw, np.uint8).reshape(*size, 3) << self.cut
'''


def check(plugin, text):
    registry.load_plugin(plugin(text, "mine.py"))
    return contracts.check_method("codec", "mine")


def test_a_codec_as_a_stranger_would_write_it_passes_and_its_files_decode(plugin):
    assert check(plugin, MINE) == []
    image = np.random.default_rng(0).integers(0, 256, (9, 5, 3), dtype=np.uint8)
    encoded = coding.encode(build("codec", {"name": "mine", "cut": 2}), image)
    decoded = coding.decode(encoded.file)
    assert np.array_equal(decoded.image, image >> 2 << 2)
    assert decoded.held.fields == {"cut": 2}
    with pytest.raises(DamagedError, match="altered"):
        coding.decode(encoded.file[:-6] + b"abcdef")


RECONSTRUCTION = "kept << self.cut)"
DEFLATED = "zlib.compress(kept.tobytes())"


@pytest.mark.parametrize(("old", "new", "message"), [
    ("trained: ClassVar[bool] = False", "trained: ClassVar[str] = 'no'", "trained is 'no', expected True or"),
    ("    trained: ClassVar[bool] = False\n", "", "lacks trained; see Codec in harness.methods.codec"),
    ("cut: int = 3", "cut: int = 3\n    more: dict = None", "field 'more': a file cannot hold a <class 'dict'>"),
    (RECONSTRUCTION, "image)", "decode of an image of 16 x 16 is not the encoder's reconstruction"),
    (RECONSTRUCTION, "image / 255)", "the reconstruction is (16, 16, 3) float64, expected (16, 16, 3) uint8"),
    ("8 * len(payload)", "4 * len(payload)", "bits are charged for a payload of"),
    ("kept = image >> self.cut", "image >>= self.cut; kept = image", "it changes the image that it was given"),
    ("return Encoded(", "return payload\n        return Encoded(", "bytes, expected Encoded"),
    (DEFLATED, "zlib.compress(kept.tobytes(), globals().setdefault('levels', [9, 1] * 9).pop())",
     "encode of one image twice gives two payloads"),
    ("except zlib.error", "except KeyError", "decode of a damaged payload raises error: Error -"),
    ("reshape(*size, 3)", "reshape(size[0] * size[1], 3)", "decode of an image of 16 x 16 is not the encoder's"),
])  # fmt: skip
def test_each_broken_clause_is_named(plugin, old, new, message):
    assert old in MINE
    problems = check(plugin, MINE.replace(old, new))
    assert any(message in p for p in problems), problems


def test_a_damaged_payload_that_gives_another_size_is_a_breach(plugin):
    """One that looks at sizes only where it feels like it."""
    text = MINE.replace(
        'raise DamagedError("its payload has another length")', "return np.zeros((1, 2, 3), np.uint8)"
    )
    assert any("decode of a damaged payload gives (1, 2, 3), expected" in p for p in check(plugin, text))
