"""What a file's bytes tell beside what libav reads: whether it ends where its headers say, and where tags lie in it.

libav reads a file that is cut off to its last whole packet and says nothing. The containers themselves know better:
each names its length somewhere near the start.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

__all__ = ["missing_bytes", "missing_from_stream", "ogg_links", "tags_inside"]

_SCAN_BYTES = 1 << 16
_STREAMED_SIZE = 0x7FFFF000  # from here on a RIFF size is a placeholder of a writer that could not seek (sox, ffmpeg)
_HEADER_BUG_BYTES = 64  # some writers count a wav's header into its data; that is no damage
_MAX_BOXES = 10_000
_FIRST_PAGE = b"OggS\x00\x02"  # version 0, "beginning of stream" (RFC 3533, section 6)


def missing_bytes(path: Path) -> int | None:
    """How many bytes the headers of a file promise that are not there.

    Knows RIFF/RF64 (wav), Ogg, Matroska/WebM, ISO media (mp4, m4a, mov) and MP3 with a Xing header.

    Returns:
        0 when the file ends where it says, None when it does not say.

    Raises:
        OSError: If the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        reader = _reader(magic)
        if reader is None:
            return None
        file.seek(0)
        try:
            end = reader(file, size)
        except (struct.error, IndexError, ValueError, OverflowError, OSError):
            return None  # the header itself is cut off, or points to where no file can have anything
    return None if end is None else max(0, end - size)


def missing_from_stream(head: bytes, size: int) -> int | None:
    """The same of what came through a pipe, of which ``size`` bytes were read and the first ones kept.

    Knows the containers that say at the very start how long they are: RIFF/RF64 (wav) and Matroska/WebM.
    """
    if head[:4] not in (b"RIFF", b"RF64", b"\x1a\x45\xdf\xa3") or (reader := _reader(head[:12])) is None:
        return None
    try:
        end = reader(io.BytesIO(head), size)
    except (struct.error, IndexError, ValueError, OverflowError):
        return None
    return None if end is None else max(0, end - size)


def _reader(magic: bytes) -> Callable[[BinaryIO, int], int | None] | None:
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
        return _riff_end
    if magic[:4] == b"OggS":
        return _ogg_end
    if magic[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_end
    if magic[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _iso_end
    if magic[:3] == b"ID3" or (len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xE6 == 0xE2):
        return _mp3_end
    return None


def _riff_end(file: BinaryIO, size: int) -> int | None:
    """End of the ``data`` chunk (Microsoft RIFF; RF64: EBU Tech 3306)."""
    file.seek(12)
    data_size_64 = None
    for _ in range(_MAX_BOXES):
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"ds64":
            data_size_64 = struct.unpack("<QQ", file.read(16))[1]
            length -= 16
        elif kind == b"data":
            if length == 0xFFFFFFFF and data_size_64:
                length = data_size_64
            elif length == 0 or length >= _STREAMED_SIZE:
                return None
            end = file.tell() + int(length)
            return end if end - size > _HEADER_BUG_BYTES else min(end, size)
        file.seek(length + (length & 1), 1)
    return None


def _ogg_end(file: BinaryIO, size: int) -> int | None:
    """End of the last page (RFC 3533, section 6)."""
    start = max(0, size - 2 * _SCAN_BYTES)  # a page has at most 65307 bytes
    file.seek(start)
    tail = file.read(size - start)
    at = tail.rfind(b"OggS")
    if at < 0:
        return None
    segments = tail[at + 26] if at + 26 < len(tail) else 255
    table = tail[at + 27 : at + 27 + segments]
    if len(table) < segments:
        return size + 1  # the page's own header is cut
    end = start + at + 27 + segments + sum(table)
    left = size - end
    # Less than a magic number is left of the next page's header.
    return size + 1 if 0 < left < 4 and b"OggS".startswith(tail[-left:]) else end


def _matroska_end(file: BinaryIO, size: int) -> int | None:
    """End of the first Segment (RFC 8794: an EBML size of all ones is unknown)."""
    for _ in range(8):
        element = _vint(file, keep_marker=True)
        length = _vint(file, keep_marker=False)
        if length is None:
            return None
        if element == 0x18538067:
            return file.tell() + length
        file.seek(length, 1)
    return None


def _vint(file: BinaryIO, *, keep_marker: bool) -> int | None:
    first = file.read(1)[0]
    width = 9 - first.bit_length()
    if width > 8:
        return None
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        raise IndexError
    mask = 0xFF if keep_marker else (1 << (8 - width)) - 1
    value = int.from_bytes(bytes([first & mask]) + rest, "big")
    return None if not keep_marker and value == (1 << (7 * width)) - 1 else value


def _iso_end(file: BinaryIO, size: int) -> int | None:
    """End of the last top-level box (ISO/IEC 14496-12, section 4.2)."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at >= size:
            return at
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return size + 8 - len(head)
        length = int.from_bytes(head[:4], "big")
        if length == 0:  # to the end of the file
            return None
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not all(32 <= c < 127 or c == 0xA9 for c in head[4:8]):
            return at  # not a box: something was appended
        at += length
    return None


def _mp3_end(file: BinaryIO, size: int) -> int | None:
    """End of the audio that a Xing or Info header declares (bytes counted from that frame on)."""
    start = 0
    head = file.read(10)
    if head[:3] == b"ID3":
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    file.seek(start)
    frame = file.read(4096)
    sync = frame.find(b"\xff")
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if sync < 0 or at < 0:
        return None
    flags = struct.unpack(">I", frame[at + 4 : at + 8])[0]
    if not flags & 2:
        return None
    field = at + 8 + (4 if flags & 1 else 0)
    length = int(struct.unpack(">I", frame[field : field + 4])[0])
    end = start + sync + length
    # Some writers count the tag in front as well; that is no damage.
    return None if not length else size if size < end <= size + start else end


def ogg_links(path: Path) -> list[range]:
    """The links of a chained Ogg file, as radio recorders and ``cat`` make them (RFC 3533, section 4).

    Each link may have a codec, a rate and channels of its own, for which libav has no place.

    Returns:
        Byte ranges, in order; fewer than two when it is not chained, or not an Ogg file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return []
        starts: list[int] = []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at, group_end = data.find(_FIRST_PAGE), -1
            while at >= 0 and len(starts) < _MAX_BOXES:
                head = data[at : at + 27 + 255]
                end = at + 1
                if len(head) >= 27 and head[18:22] == bytes(4):  # its sequence number is 0
                    end = at + 27 + head[26] + sum(head[27 : 27 + head[26]])
                    if at != group_end:  # streams that are multiplexed begin side by side
                        starts.append(at)
                    group_end = end
                at = data.find(_FIRST_PAGE, end)
    return [range(start, stop) for start, stop in pairwise([0, *starts[1:], size])]


def tags_inside(path: Path) -> list[range]:
    """Where ID3v2 and APE tags lie in a stream of MPEG audio frames behind its start, as files that were joined have.

    Their pictures look like audio in places, so that a decoder must not see them.

    Returns:
        Byte ranges, in order (ID3v2.4.0 structure, section 3.1; APEv2 header and footer).
    """
    if not path.stat().st_size:
        return []
    found: list[range] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for magic, measure in ((b"ID3", _id3_tag), (b"APETAGEX", _ape_tag)):
            at = data.find(magic, 1)
            while at >= 0 and len(found) < _MAX_BOXES:
                tag = measure(data, at)
                if tag:
                    found.append(tag)
                at = data.find(magic, max(at + 1, tag.stop))
    return sorted(found, key=lambda tag: tag.start)


def _id3_tag(data: mmap.mmap, at: int) -> range:
    head = data[at : at + 10]
    if len(head) < 10 or head[3] not in (2, 3, 4) or head[4] == 0xFF or head[5] & 0x0F or max(head[6:10]) > 0x7F:
        return range(0)
    length = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
    return range(at, at + length) if at + length <= len(data) else range(0)


def _ape_tag(data: mmap.mmap, at: int) -> range:
    head = data[at : at + 32]
    if len(head) < 32:
        return range(0)
    version, length, _, flags = struct.unpack("<4I", head[8:24])
    if version not in (1000, 2000):
        return range(0)
    start, stop = (at, at + 32 + length) if flags & 1 << 29 else (at + 32 - length, at + 32)
    return range(start, stop) if 0 < start < stop <= len(data) else range(0)
