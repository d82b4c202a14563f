"""The file around a codec's payload: from it and the denoiser alone an image is decoded, or it says why not.

    magic "MHC" and version       4 bytes
    length of the header          u8
    header:  codec's name         u8 length, then UTF-8
             width, height        u16 each, big-endian
             fields               of the codec, in their order (see ``fields_of``)
             denoiser             8 bytes of its digest, 4 of the numerics tag; only for a codec that needs one
    payload
    CRC-32 of all before it       u32, big-endian

Every field is there, those at their defaults too: a default may be another tomorrow.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness import registry
from harness.errors import DamagedError, HarnessError, PluginError
from harness.methods.construct import build

MAGIC = b"MHC"
VERSION = 1
CRC = struct.Struct(">I")
SIDES = struct.Struct(">HH")
LONGEST_SIDE = (1 << 16) - 1
DIGEST_BYTES, TAG_BYTES = 8, 4


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a file holds."""

    codec: str
    """Name of the codec."""
    fields: Mapping[str, Any]
    """Its fields, all of them."""
    size: tuple[int, int]
    """(height, width) of the image."""
    denoiser: bytes | None
    """Digest of the denoiser that it was made with; None for a codec that needs none."""
    tag: bytes | None
    """Numerics tag of the encoder, beside a digest."""
    payload: bytes


def pack(codec: Any, size: tuple[int, int], payload: bytes, digest: bytes = b"", tag: bytes = b"") -> bytes:
    """A file. ``digest`` and ``tag``: of the denoiser, where the codec needs one."""
    height, width = size
    if not (1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE):
        raise HarnessError(f"an image of {width} x {height} pixels: sides must lie in 1 to {LONGEST_SIDE:,}")
    assert (len(digest), len(tag)) == ((DIGEST_BYTES, TAG_BYTES) if codec.trained else (0, 0))
    name = codec.name.encode()
    header = bytes([len(name)]) + name + SIDES.pack(width, height) + fields_of(codec) + digest + tag
    if len(header) > 255:
        raise PluginError(f"codec {codec.name!r}: its name and fields take {len(header)} bytes, more than 255")
    body = MAGIC + bytes([VERSION, len(header)]) + header + payload
    return body + CRC.pack(zlib.crc32(body))


def unpack(file: bytes) -> tuple[Any, Container]:
    """(codec with the fields of the file, what the file holds).

    Raises DamagedError for what is no such file, cut off or altered, and HarnessError for a codec that is not here.
    """
    if file[: len(MAGIC)] != MAGIC[: len(file)] or not file:
        raise DamagedError("it is no file of `harness encode`")
    if len(file) < len(MAGIC) + 2 + CRC.size:
        raise DamagedError("it is cut off")
    body, crc = file[: -CRC.size], CRC.unpack(file[-CRC.size :])[0]
    if zlib.crc32(body) != crc:
        raise DamagedError("it is cut off or was altered: its checksum is not that of its content")
    version, length = body[len(MAGIC)], body[len(MAGIC) + 1]
    if version != VERSION:
        raise DamagedError(f"it is of version {version}, which this one, version {VERSION}, does not know")
    start = len(MAGIC) + 2
    if len(body) < start + length:
        raise DamagedError("its header is longer than the file")
    return _read(body[start : start + length], body[start + length :])


def _read(header: bytes, payload: bytes) -> tuple[Any, Container]:
    reader = _Reader(header)
    try:
        name = reader.take(reader.take(1)[0]).decode()
    except UnicodeDecodeError:
        raise DamagedError("its codec's name is not text") from None
    width, height = SIDES.unpack(reader.take(SIDES.size))
    if not width or not height:
        raise DamagedError(f"its image has {width} x {height} pixels")
    cls = registry.method_class("codec", name)
    fields = {key: _read_value(reader, kind) for key, kind in _kinds(cls)}
    digest, tag = (reader.take(DIGEST_BYTES), reader.take(TAG_BYTES)) if cls.trained else (None, None)  # type: ignore[attr-defined]
    if reader.left:
        raise DamagedError(f"its header is {reader.left} bytes longer than codec {name!r} writes")
    try:
        codec = build("codec", {"name": name, **fields})
    except PluginError as error:
        raise DamagedError(f"its header is refused: {error}") from None
    return codec, Container(
        codec=name, fields=fields, size=(height, width), denoiser=digest, tag=tag, payload=payload
    )


# --- fields --------------------------------------------------------------------------------------------------


def fields_of(codec: Any) -> bytes:
    """A codec's fields, one after the other: ints and bools as varints, a Literal as its place, texts, floats.

    Raises PluginError for a field that is none of these.
    """
    return b"".join(_value(kind, getattr(codec, key)) for key, kind in _kinds(type(codec)))


def _kinds(cls: type) -> Iterator[tuple[str, Any]]:
    """(field, its type) of a codec; a tuple stands for the values of a Literal."""
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        kind = hints[f.name]
        if typing.get_origin(kind) is Literal:
            kind = typing.get_args(kind)
        elif kind not in (int, bool, float, str):
            raise PluginError(
                f"codec {cls.name!r}, field {f.name!r}: a file cannot hold a {kind}; "  # type: ignore[attr-defined]
                "use int, bool, float, str or Literal"
            )
        yield f.name, kind


def _value(kind: Any, value: Any) -> bytes:
    if isinstance(kind, tuple):
        return _varint(kind.index(value))
    if kind is float:
        return struct.pack(">d", value)
    if kind is str:
        text = value.encode()
        return _varint(len(text)) + text
    # Small numbers of either sign take a byte.
    return _varint(2 * int(value) if value >= 0 else -2 * int(value) - 1)


def _read_value(reader: _Reader, kind: Any) -> Any:
    if isinstance(kind, tuple):
        place = reader.varint()
        if place >= len(kind):
            raise DamagedError(f"its header names choice {place} of {len(kind)}")
        return kind[place]
    if kind is float:
        return struct.unpack(">d", reader.take(8))[0]
    if kind is str:
        try:
            return reader.take(reader.varint()).decode()
        except UnicodeDecodeError:
            raise DamagedError("its header holds a text that is none") from None
    number = reader.varint()
    value = -(number + 1) // 2 if number & 1 else number // 2
    return bool(value) if kind is bool else value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class _Reader:
    """Takes bytes from the front; DamagedError where there are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def left(self) -> int:
        return len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise DamagedError("its header ends too early")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise DamagedError("its header holds a number without end")
