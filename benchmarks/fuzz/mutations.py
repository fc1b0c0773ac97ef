"""What damage and malice do to a file: bytes changed, cut, doubled or swapped, and numbers that are too large."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

_NUMBERS = (b"0", b"-1", b"nan", b"inf", b"1e999", b"-0", b"2147483648", b"99999999999999999999", b"1_0", b"0x10", b"")
_WORDS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\r", b"\n\n", b"{", b"[", b"]", b"null", b"true"),
    *(b"../../outside", b"/outside", b"file:///outside", b"%s%n", b"\xed\xa0\x80", "٣".encode(), b"=", b"#"),
)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**63 - 1)
_DEEP = 100_000  # brackets: past any parser's recursion
HOSTILE = (
    *(
        b"",
        b"\0",
        b"\0" * 4096,
        b"\xff" * 4096,
        b"[" * _DEEP,
        b'{"a":' * _DEEP,
        b"a=" + b"[" * _DEEP,
        b"a=" + b"{a=" * _DEEP,
    ),
    *(
        b"a" * 200_000,
        b"1," * _DEEP,
        b"9" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"a = " + b"9" * 5000,
        b'"' + b"x," * 200_000,
    ),
    *(b"{}", b"[]", b"null", b"1", b'""', b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x05\x06" + bytes(18), b"../../outside\n"),
)
"""What every reader meets first."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def mutated(seed: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """A damaged copy of ``seed``, or bytes of no file at all; ``others`` may lend it parts."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.randrange(400))
    squeezed = seed[:2] == b"\x1f\x8b" and draw.random() < 0.5
    data = bytearray(_unzipped(seed) if squeezed else seed)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        change = draw.choice(_CHANGES)
        data = change(data, draw) if data else bytearray(draw.randbytes(8))
    if draw.random() < 0.05:
        other = draw.choice(others)
        at = draw.randrange(len(other) + 1)
        data = bytearray(data[: draw.randrange(len(data) + 1)] + other[at:])
    return _zipped(bytes(data)) if squeezed else bytes(data)


def _flip(data: bytearray, draw: random.Random) -> bytearray:
    data[_place(data, draw)] ^= 1 << draw.randrange(8)
    return data


def _byte(data: bytearray, draw: random.Random) -> bytearray:
    data[_place(data, draw)] = draw.randrange(256)
    return data


def _integer(data: bytearray, draw: random.Random) -> bytearray:
    width, order = draw.choice("hiq"), draw.choice("<>")
    size = struct.calcsize(width)
    value = draw.choice(_EXTREMES) & (256**size - 1)
    at = _place(data, draw)
    data[at : at + size] = value.to_bytes(size, "little" if order == "<" else "big")
    return data


def _cut(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data) + 1)]


def _drop(data: bytearray, draw: random.Random) -> bytearray:
    at = _place(data, draw)
    return data[:at] + data[at + draw.randrange(1, 40) :]


def _double(data: bytearray, draw: random.Random) -> bytearray:
    at = _place(data, draw)
    part = data[at : at + draw.randrange(1, 60)]
    return data[:at] + part * draw.choice((2, 3, 50)) + data[at + len(part) :]


def _insert(data: bytearray, draw: random.Random) -> bytearray:
    at = _place(data, draw)
    return data[:at] + draw.choice((draw.choice(_WORDS), draw.randbytes(draw.randrange(1, 12)))) + data[at:]


def _number(data: bytearray, draw: random.Random) -> bytearray:
    """Another number where text has one."""
    found = list(_NUMBER.finditer(bytes(data[:20_000])))
    if not found:
        return _byte(data, draw)
    one = draw.choice(found)
    return data[: one.start()] + draw.choice(_NUMBERS) + data[one.end() :]


def _swap_lines(data: bytearray, draw: random.Random) -> bytearray:
    lines = bytes(data).split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return bytearray(b"\n".join(lines))


def _nest(data: bytearray, draw: random.Random) -> bytearray:
    """Seldom: it is slow for every reader that looks at text."""
    if draw.random() > 0.1:
        return _flip(data, draw)
    at = _place(data, draw)
    return data[:at] + draw.choice((b"[", b'{"a":', b"(", b"{a=")) * _DEEP + data[at:]


_CHANGES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    *(_flip, _byte, _integer, _cut, _drop, _double, _insert, _number, _number, _swap_lines, _nest),
)


def _place(data: bytearray, draw: random.Random) -> int:
    """Where headers are, as often as anywhere."""
    return draw.randrange(min(len(data), draw.choice((60, 400, len(data)))))


def _unzipped(data: bytes) -> bytes:
    return zlib.decompress(data, 31)


def _zipped(data: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
