"""Whole numbers of fixed width in a row, the first bit the highest of the first byte."""

from __future__ import annotations

from harness.errors import DamagedError


class BitWriter:
    """Collects numbers of fixed width."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._held = 0
        self._width = 0
        self.bits = 0
        """Bits written so far."""

    def write(self, value: int, width: int) -> None:
        """Append ``value``, at least 0 and below 2^width."""
        assert 0 <= value < 1 << width
        self.bits += width
        self._held = self._held << width | value
        self._width += width
        whole, self._width = divmod(self._width, 8)
        self._bytes += (self._held >> self._width).to_bytes(whole, "big")
        self._held &= (1 << self._width) - 1

    def getvalue(self) -> bytes:
        """What was written, filled up with zeros to whole bytes."""
        rest = (self._held << 8 - self._width).to_bytes(1, "big") if self._width else b""
        return bytes(self._bytes) + rest


class BitReader:
    """Reads numbers of fixed width from a payload of ``bits`` bits.

    Raises DamagedError where the payload has another length, or is filled up with other bits than zeros.
    """

    def __init__(self, payload: bytes, bits: int) -> None:
        if len(payload) != -(-bits // 8):
            raise DamagedError(f"its payload has {len(payload)} bytes where {-(-bits // 8)} belong")
        if bits % 8 and payload[-1] & (1 << 8 - bits % 8) - 1:
            raise DamagedError("its payload ends in bits that nobody wrote")
        self._payload = payload
        self._at = 0

    def read(self, width: int) -> int:
        """The next number."""
        first, self._at = self._at, self._at + width
        last = -(-self._at // 8)
        value = int.from_bytes(self._payload[first // 8 : last], "big") >> 8 * last - self._at
        return value & (1 << width) - 1
