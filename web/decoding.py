"""Decodes a recording that somebody sent, in a process of its own: ``python -m tolmach.web.decoding MAX_S``.

What a stranger sends is read by FFmpeg's demuxers, which are large, written in C, and made for files one trusts. Here
they run at low priority, may open no file for writing, and have bounds on memory and computing time; what crashes is
this process. The recording is standard input, a file that can be sought in and need not have a name; standard output is
its sound, int16, mono, 48 kHz, as a live session's microphone gives it. Whoever reads slowly makes it wait.

Exit status: 0 all of it, 3 nothing to decode, 4 longer than it may be, 5 the machine refuses; the reason is the last
line of standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["NOTHING_TO_DECODE", "RATE_HZ", "TOO_LONG", "main"]

RATE_HZ = 48_000
"""What ``webrtc_src`` gives, so the graph behind needs no change."""
NOTHING_TO_DECODE, TOO_LONG, REFUSED = 3, 4, 5

RECORDING = Path("/dev/fd/0")
_NICE = 10
_MEMORY_BYTES = 2 * 2**30
"""Address space: Python, numpy and FFmpeg take 0.4 GiB of it; the largest frame that a header can ask for must not take
the machine's."""
_GUESSED = 2
"""How many times too long a recording must be by its header, or by what FFmpeg guesses without one, to be refused
before it is read that far."""
_CPU_S = 900
"""Computing time, s: two hours of Opus take about 30 s, whatever takes this long is made to."""


def main(arguments: list[str]) -> int:
    """Decode standard input to standard output; returns the exit status.

    Args:
        arguments: The longest recording, s.
    """
    _bound()
    # Not above: what they take shall count, and the bounds must stand before a byte is read.
    from tolmach.pipelines.errors import MediaError
    from tolmach.processors.resample.stream import StreamResampler, kernel
    from tolmach.transports.files.decode import Decoder
    from tolmach.transports.files.encode import to_int16

    max_s = float(arguments[0])
    most_ms = int((_GUESSED * max_s + 1) * 1000)
    decoder = Decoder(RECORDING, "the file", channel="mix", start_ms=0, duration_ms=most_ms)
    try:
        decoder.open()
        resampler = StreamResampler(kernel(decoder.rate_hz, RATE_HZ), 1) if decoder.rate_hz != RATE_HZ else None
        read, most = 0, int(max_s * decoder.rate_hz)
        while len(block := decoder.read(decoder.rate_hz)):
            read += len(block)
            if read > most or (decoder.expected or 0) > _GUESSED * most:
                print(f"the recording is longer than {max_s:g} s", file=sys.stderr)
                return TOO_LONG
            _write(to_int16(resampler.push(block) if resampler else block)[0].tobytes())
        if resampler is not None:
            _write(to_int16(resampler.flush())[0].tobytes())
    except MediaError as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return NOTHING_TO_DECODE
    except BrokenPipeError:  # nobody wants the rest
        return 0
    except MemoryError:
        print("the file takes more memory than a recording may", file=sys.stderr)
        return REFUSED
    finally:
        decoder.close()
    return 0


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


def _bound() -> None:
    with contextlib.suppress(OSError, AttributeError):  # no such call on Windows
        os.nice(_NICE)
    try:
        import resource
    except ImportError:
        return
    for what, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_FSIZE, 0)):
        with contextlib.suppress(ValueError, OSError):  # macOS knows no bound of the address space
            resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
