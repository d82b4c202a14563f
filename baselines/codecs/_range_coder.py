"""Adaptive binary arithmetic coding in integers: equal on every machine.

The coder of LZMA (a 32-bit range, carries that go into what is written) with probabilities that both sides learn
from what was coded, first fast and then slower: no side information. A context's estimate after n bits, k of them
zeros, is (k + 1/2) / (n + 1) up to rounding, as long as n is small; later ones count for more.
"""

from __future__ import annotations

import math

from harness.errors import DamagedError

_TOP = 1 << 24
_SCALE = 15
_LEAST = 32
"""Smallest probability of a bit, in units of 2^-15."""
_SLOWEST = 62
"""Bits after which a context learns no slower."""
_FLUSHED = 4
"""Bytes of the range that are left to write at the end, zeros apart."""


class Model:
    """Probabilities of the zero bit, by context; each moves with what was coded in it."""

    def __init__(self) -> None:
        self._seen: dict[object, tuple[int, int]] = {}

    def zero(self, context: object) -> int:
        """Probability of a zero in units of 2^-15."""
        return self._seen[context][0] if context in self._seen else 1 << _SCALE - 1

    def learn(self, context: object, bit: int) -> None:
        """Move towards the bit that was seen."""
        zero, count = self._seen.get(context, (1 << _SCALE - 1, 0))
        zero += ((0 if bit else 1 << _SCALE) - zero) // (count + 2)
        zero = min(max(zero, _LEAST), (1 << _SCALE) - _LEAST)
        self._seen[context] = zero, min(count + 1, _SLOWEST)


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
        """The bytes; at the end as few as name a number in the last range, zeros after them left out."""
        sent = len(self._out)
        # The number in [low, low + range) with the most trailing zeros.
        for width in range(32, -1, -1):
            value = self._low + (1 << width) - 1 >> width << width
            if value < self._low + self._range:
                break
        self._low = value
        for _ in range(_FLUSHED):
            self._out += self._carried().to_bytes(1, "big")
            self._low = (self._low & 0xFFFFFF) << 8
        return bytes(self._out[:sent]) + bytes(self._out[sent:]).rstrip(b"\0")


class Decoder:
    """Bytes to the bits that the encoder was given; after the last byte follow zeros without end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = _FLUSHED
        self._code = int.from_bytes(payload[:_FLUSHED].ljust(_FLUSHED, b"\0"), "big")
        self._range = 0xFFFFFFFF
        self._model = Model()

    @property
    def left(self) -> int:
        """Bytes that were not needed yet: below 0 where the payload was shorter than what was read from it."""
        return len(self._payload) - (self._at - _FLUSHED)

    def finish(self) -> None:
        """Raises DamagedError where the payload ends elsewhere than the encoder's would."""
        if self.left < 0:
            raise DamagedError("its payload ends before the image does")
        if self.left > _FLUSHED or (self.left and self._payload.endswith(b"\0")):
            raise DamagedError("its payload goes on after the image ends")

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
