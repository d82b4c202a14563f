"""The file around a payload: what it holds, and every way in which it can be wrong."""

import zlib
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest

from harness.codecs import coding, container
from harness.errors import DamagedError, HarnessError, PluginError, UnknownNameError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import White

IMAGE = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
DDCM = build("codec", {"name": "ddcm", "steps": 4, "codewords": 16})
WEBP = build("codec", {"name": "webp"})
FILE = coding.encode(DDCM, IMAGE, White()).file


def sealed(body):
    """With the checksum that a file of this content has."""
    return body + container.CRC.pack(zlib.crc32(body))


def damage(file, denoiser=None):
    with pytest.raises(DamagedError) as caught:
        coding.decode(file, denoiser or White())
    message = str(caught.value)
    assert message.startswith(("it ", "its "))
    assert "\n" not in message
    return message


def test_a_file_says_all_that_its_decoder_must_know():
    codec, held = container.unpack(FILE)
    assert codec == DDCM
    assert held.size == (5, 7)
    assert held.fields["steps"] == 4 and held.fields["codewords"] == 16
    assert held.denoiser == White().digest
    assert container.pack(codec, held.size, held.payload, held.denoiser, held.tag) == FILE


def test_a_file_is_header_payload_and_checksum():
    encoded = coding.encode(DDCM, IMAGE, White())
    digest_and_tag = 12
    header = 1 + len("ddcm") + 4 + len(container.fields_of(DDCM)) + digest_and_tag
    assert len(encoded.file) == 5 + header + encoded.payload_bytes + 4
    assert encoded.payload_bytes == -(-(3 * 4) // 8)
    plain = coding.encode(WEBP, IMAGE)
    assert len(plain.file) == 5 + 1 + len("webp") + 4 + len(container.fields_of(WEBP)) + plain.payload_bytes + 4


def test_a_foreign_file_is_named_as_one():
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"hello"):
        assert damage(data) == "it is no file of `harness encode`"


@pytest.mark.parametrize("length", [1, 3, 8, 20, len(FILE) - 1])
def test_a_truncated_file_is_cut_off(length):
    assert "it is cut off" in damage(FILE[:length])


def test_every_altered_byte_is_found():
    for i in range(len(FILE)):
        altered = FILE[:i] + bytes([FILE[i] ^ 16]) + FILE[i + 1 :]
        assert "altered" in damage(altered) or i < 3


def test_another_version_is_said():
    assert damage(sealed(FILE[:3] + b"\x07" + FILE[4:-4])) == (
        "it is of version 7, which this one, version 1, does not know"
    )


def test_a_wrong_denoiser_is_said_with_both_digests():
    other = White(multiple=2)
    assert damage(FILE, other) == (
        f"it was made with denoiser {White().digest.hex()}, not with this one, {other.digest.hex()}"
    )


def test_no_denoiser_is_said():
    with pytest.raises(HarnessError, match=f"the denoiser that the file was made with, {White().digest.hex()}"):
        coding.decode(FILE)
    with pytest.raises(HarnessError, match="codec 'ddcm' needs a denoiser, for encoding and for decoding"):
        coding.encode(DDCM, IMAGE)


def test_an_unknown_codec_is_said_with_those_that_are_here():
    with pytest.raises(UnknownNameError, match=r"unknown codec 'ddcn'\. Did you mean 'ddcm'"):
        coding.decode(sealed(FILE[:-4].replace(b"ddcm", b"ddcn")), White())


def test_more_pixels_than_allowed_are_not_decoded():
    body = bytearray(FILE[:-4])
    start = body.index(b"ddcm") + 4
    body[start : start + 4] = container.SIDES.pack(60_000, 50_000)
    assert damage(sealed(bytes(body))) == (
        "it declares an image of 60,000 x 50,000 pixels, more than the 16,777,216 allowed"
    )
    body[start : start + 4] = container.SIDES.pack(0, 7)
    assert damage(sealed(bytes(body))) == "its image has 0 x 7 pixels"


def test_a_header_longer_than_its_codec_writes_is_refused():
    longer = FILE[:4] + bytes([FILE[4] + 1]) + FILE[5:-4]
    assert damage(sealed(longer)) == "its header is 1 bytes longer than codec 'ddcm' writes"


def test_fields_out_of_range_are_refused_in_the_codecs_words():
    body = bytearray(FILE[:-4])
    start = body.index(b"ddcm") + 8
    assert body[start] == 2 * 4
    body[start] = 2 * 1
    assert "its header is refused: codec 'ddcm'" in damage(sealed(bytes(body)))
    body[start] = 2 * 40
    assert damage(sealed(bytes(body))) == "its payload has 2 bytes where 20 belong"


def test_a_payload_of_another_length_is_refused():
    assert damage(sealed(FILE[:-4] + b"\0")) == "its payload has 3 bytes where 2 belong"
    assert damage(sealed(FILE[:-5])) == "its payload has 1 bytes where 2 belong"


def test_bits_that_fill_the_last_byte_are_zero():
    body = FILE[:-5] + bytes([FILE[-5] | 1])
    assert damage(sealed(body)) == "its payload ends in bits that nobody wrote"


def test_a_file_of_another_numerics_class_says_what_is_promised(monkeypatch):
    assert coding.decode(FILE, White()).warning == ""
    monkeypatch.setattr(coding.environment, "numerics_class", lambda device: "torch 9, another machine")
    decoded = coding.decode(FILE, White())
    assert "within 80 dB of it" in decoded.warning
    narrow = White()
    narrow.dtype = "bfloat16"
    assert "within 45 dB of it" in coding.decode(FILE, narrow).warning


def test_threads_are_part_of_the_tag():
    import torch

    before = torch.get_num_threads()
    try:
        tags = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            tags.append(coding.numerics_tag(White()))
    finally:
        torch.set_num_threads(before)
    assert tags[0] != tags[1]


@pytest.mark.parametrize("image", [
    IMAGE[..., 0], np.zeros((3, 3, 4), np.uint8), IMAGE.astype(float), np.zeros((0, 5, 3), np.uint8),
    np.zeros((1, 70_000, 3), np.uint8),
])  # fmt: skip
def test_arrays_that_are_no_image_are_refused(image):
    with pytest.raises(HarnessError, match="an image"):
        coding.encode(WEBP, image)


# --- fields --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fields:
    name: ClassVar[str] = "fields"
    whole: int = -3
    large: int = 1 << 40
    yes: bool = True
    number: float = -0.1
    text: str = "größe"
    choice: Literal["a", "b", 3] = 3


def test_fields_of_every_kind_come_back():
    reader = container._Reader(container.fields_of(Fields()))
    values = {key: container._read_value(reader, kind) for key, kind in container._kinds(Fields)}
    assert Fields(**values) == Fields()
    assert values["yes"] is True
    assert not reader.left


def test_a_field_that_no_file_can_hold_is_named():
    @dataclass(frozen=True, kw_only=True)
    class Strange:
        name: ClassVar[str] = "strange"
        table: dict = None

    with pytest.raises(PluginError, match=r"codec 'strange', field 'table': a file cannot hold a <class 'dict'>"):
        container.fields_of(Strange())
