"""Bits, sets and the arithmetic coder: what goes in comes out, and costs what it should."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.codecs import _combinations
from baselines.codecs._bits import BitReader, BitWriter
from baselines.codecs._range_coder import Decoder, Encoder
from harness.errors import DamagedError

NUMBERS = st.lists(st.integers(0, 80).flatmap(lambda w: st.tuples(st.integers(0, (1 << w) - 1), st.just(w))))


@given(NUMBERS)
def test_numbers_come_back_and_fill_their_widths(numbers):
    writer = BitWriter()
    for value, width in numbers:
        writer.write(value, width)
    assert writer.bits == sum(width for _, width in numbers)
    payload = writer.getvalue()
    assert len(payload) == math.ceil(writer.bits / 8)
    reader = BitReader(payload, writer.bits)
    assert [reader.read(width) for _, width in numbers] == [value for value, _ in numbers]


def test_the_first_bit_is_the_highest_of_the_first_byte():
    writer = BitWriter()
    for value, width in ((1, 1), (2, 3), (0x1FF, 9)):
        writer.write(value, width)
    assert writer.getvalue() == bytes([0b10101111, 0b11111000])


def test_a_payload_of_another_length_or_with_other_filling_is_damage():
    with pytest.raises(DamagedError, match="its payload has 3 bytes where 2 belong"):
        BitReader(bytes(3), 13)
    with pytest.raises(DamagedError, match="ends in bits that nobody wrote"):
        BitReader(bytes([0, 0b00000100]), 13)
    assert BitReader(bytes([0, 0b00001000]), 13).read(13) == 1


@pytest.mark.parametrize(("K", "M"), [(7, 3), (8, 8), (9, 1), (6, 5)])
def test_ranks_count_all_sets_once_in_colexicographic_order(K, M):
    sets = sorted(itertools.combinations(range(K), M), key=lambda s: s[::-1])
    assert [_combinations.rank(s) for s in sets] == list(range(math.comb(K, M)))
    assert [tuple(_combinations.members(r, K, M)) for r in range(len(sets))] == sets


@pytest.mark.parametrize(("K", "M", "bits"), [(8, 8, 0), (16384, 1, 14), (16, 1, 4), (7, 3, 6), (16384, 5, 64)])
def test_a_set_has_as_many_bits_as_it_takes_to_count_all(K, M, bits):
    assert _combinations.width(K, M) == bits


@settings(deadline=None)
@given(st.data())
def test_large_sets_come_back(data):
    K = data.draw(st.sampled_from([16, 256, 16384, 65536]))
    M = data.draw(st.integers(1, min(K, 256)))
    rank = data.draw(st.integers(0, math.comb(K, M) - 1) | st.sampled_from([0, math.comb(K, M) - 1]))
    members = _combinations.members(rank, K, M)
    assert members == sorted(set(members)) and members[0] >= 0 and members[-1] < K
    assert _combinations.rank(members) == rank
    assert rank < 1 << _combinations.width(K, M)


SYMBOLS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 127)), max_size=300)


@given(SYMBOLS)
def test_the_arithmetic_coder_gives_back_what_it_was_given(symbols):
    encoder = Encoder()
    for context, value in symbols:
        if context is None:
            encoder.plain(value, 7)
        else:
            encoder.bit(context, value & 1)
    payload = encoder.finish()
    assert 8 * len(payload) <= encoder.information + 16
    decoder = Decoder(payload)
    for context, value in symbols:
        assert decoder.bit(context) == value & 1 if context else decoder.plain(7) == value
    decoder.finish()
    for longer in (payload + b"\0", payload + b"\1" * 5):
        decoder = Decoder(longer)
        for context, _ in symbols:
            decoder.bit(context) if context else decoder.plain(7)
        with pytest.raises(DamagedError, match="its payload goes on after the image ends"):
            decoder.finish()


def test_a_carry_goes_through_bytes_of_ones():
    """Long runs in contexts that have learned otherwise: every carry there is."""
    for run in range(1, 400, 7):
        encoder = Encoder()
        bits = [1] * run + [0, 1] * 20 + [1] * 30
        for bit in bits:
            encoder.bit("c", bit)
        decoder = Decoder(encoder.finish())
        assert [decoder.bit("c") for _ in bits] == bits


def test_the_arithmetic_coder_learns_a_biased_source():
    """2 % ones: the entropy is .141 bits, and adaptation to a 16th at each bit costs a few hundredths."""
    encoder = Encoder()
    bits = [int(i % 50 == 0) for i in range(5000)]
    for bit in bits:
        encoder.bit("c", bit)
    assert 0.141 * 5000 < 8 * len(encoder.finish()) < 0.25 * 5000


def test_reading_on_behind_the_payload_is_noticed():
    decoder = Decoder(b"\x12\x34")
    for _ in range(8):
        decoder.plain(8)
    assert decoder.left == -6
    with pytest.raises(DamagedError, match="its payload ends before the image does"):
        decoder.finish()
