"""Adaptive binary arithmetic coding in integers: carry-less to no rounding, equal on every machine.

The coder of LZMA (a 32-bit range, 11-bit probabilities that move a 16th of the way at each bit), whose decoder
needs no side information: probabilities begin at one half, and both sides learn them.
"""

from __future__ import annotations

import math

_TOP = 1 << 24
_SCALE = 11
_RATE = 4


class Model:
    """Probabilities of the zero bit, by context; each moves with what was coded in it."""

    def __init__(self) -> None:
        self._zero: dict[object, int] = {}

    def zero(self, context: object) -> int:
        """Probability of a zero in units of 2^-11; at least 31 and at most 2,017 of them."""
        return self._zero.get(context, 1 << _SCALE - 1)

    def learn(self, context: object, bit: int) -> None:
        """Move towards the bit that was seen."""
        p = self.zero(context)
        self._zero[context] = p - (p >> _RATE) if bit else p + ((1 << _SCALE) - p >> _RATE)


class Encoder:
    """Bits to bytes."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._low, self._range = 0, 0xFFFFFFFF
        self._model = Model()
        self.information = 0.0
        """-log2 of the probability of all bits so far: what an ideal coder would need."""

    def bit(self, context: object, bit: int) -> None:
        """Code a bit with what its context has learned."""
        zero = self._model.zero(context)
        bound = (self._range >> _SCALE) * zero
        if bit:
            self._low += bound
            self._range -= bound
        else:
            self._range = bound
        self.information -= math.log2((zero if not bit else (1 << _SCALE) - zero) / (1 << _SCALE))
        self._model.learn(context, bit)
        self._shift()

    def plain(self, value: int, width: int) -> None:
        """Code a number below 2^width, all of them equally likely."""
        for i in reversed(range(width)):
            self._range >>= 1
            self._low += self._range * (value >> i & 1)
            self._shift()
        self.information += width

    def _shift(self) -> None:
        while self._range < _TOP:
            self._out += self._carried().to_bytes(1, "big")
            self._low = (self._low & 0xFFFFFF) << 8
            self._range = self._range << 8 & 0xFFFFFFFF

    def _carried(self) -> int:
        """The highest byte, after a carry went into those before it."""
        if self._low >> 32:
            i = len(self._out) - 1
            while self._out[i] == 0xFF:
                self._out[i] = 0
                i -= 1
            self._out[i] += 1
            self._low &= 0xFFFFFFFF
        return self._low >> 24

    def finish(self) -> bytes:
        """The bytes; as few as name a number in the last range, zeros after them left out."""
        # The number in [low, low + range) with the most trailing zeros.
        for width in range(32, -1, -1):
            value = self._low + (1 << width) - 1 >> width << width
            if value < self._low + self._range:
                break
        self._low = value
        for _ in range(4):
            self._out += self._carried().to_bytes(1, "big")
            self._low = (self._low & 0xFFFFFF) << 8
        return bytes(self._out).rstrip(b"\0")


class Decoder:
    """Bytes to the bits that the encoder was given; after the last byte follow zeros without end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 4
        self._code = int.from_bytes(payload[:4].ljust(4, b"\0"), "big")
        self._range = 0xFFFFFFFF
        self._model = Model()

    @property
    def spent(self) -> bool:
        """Whether bytes were read that lie more than a range's width behind the payload's end."""
        return self._at > len(self._payload) + 4

    def bit(self, context: object) -> int:
        """The next bit of this context."""
        bound = (self._range >> _SCALE) * self._model.zero(context)
        bit = int(self._code >= bound)
        if bit:
            self._code -= bound
            self._range -= bound
        else:
            self._range = bound
        self._model.learn(context, bit)
        self._shift()
        return bit

    def plain(self, width: int) -> int:
        """The next number below 2^width."""
        value = 0
        for _ in range(width):
            self._range >>= 1
            bit = int(self._code >= self._range)
            self._code -= self._range * bit
            value = value << 1 | bit
            self._shift()
        return value

    def _shift(self) -> None:
        while self._range < _TOP:
            byte = self._payload[self._at] if self._at < len(self._payload) else 0
            self._code = (self._code << 8 | byte) & 0xFFFFFFFF
            self._range = self._range << 8 & 0xFFFFFFFF
            self._at += 1
