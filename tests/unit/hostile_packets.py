"""Packets made by hand, and seeded mutations of honest ones."""

from __future__ import annotations

import random
import struct


def raw(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """A chunk whose length may lie."""
    return struct.pack("!BBH", kind, 0, 4 + len(body) if length is None else length) + body + bytes(-len(body) % 4)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Some bytes changed to likely troublemakers, cut off, doubled, or taken out."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed)) if changed else 0
        match rng.randrange(6):
            case 0 | 1 if changed:
                changed[at] = rng.choice((0, 1, 3, 4, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2 if len(changed) > 2:
                changed[at : at + 2] = rng.choice((b"\0\0", b"\0\3", b"\xff\xff", b"\x80\0"))
            case 3:
                del changed[at:]
            case 4:
                del changed[at : at + rng.randint(1, 8)]
            case _:
                changed[at:at] = changed[at : at + rng.randint(1, 64)] * rng.randint(1, 4)
    return bytes(changed)
