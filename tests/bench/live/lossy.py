"""Runs a server on a line that loses packets: ``python -m tests.bench.live.lossy MODULE ARGUMENTS``.

Both stacks stand on aiortc, so the same few lines are the line of both: an RTP datagram the server's ICE transport
received is dropped before it is decrypted, whatever reads it. SIGUSR1 loses the next one of each call; SIGUSR2
begins, and the second time ends, losing two in a hundred, the same ones in every run.
"""

from __future__ import annotations

import random
import runpy
import signal
import sys
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from aiortc import RTCIceTransport
from aiortc.rtp import is_rtcp

SHARE = 0.02


class LossyLine:
    """What is lost; one for the process, driven by signals."""

    def __init__(self) -> None:
        self._ordered = 0
        self._obeyed: WeakKeyDictionary[RTCIceTransport, int] = WeakKeyDictionary()
        self._random: random.Random | None = None

    def lose_one(self, *_: object) -> None:
        self._ordered += 1

    def toggle(self, *_: object) -> None:
        self._random = random.Random(1) if self._random is None else None

    def loses(self, transport: RTCIceTransport) -> bool:
        """Whether the RTP packet that just came on this transport is lost."""
        if self._obeyed.setdefault(transport, self._ordered) < self._ordered:
            self._obeyed[transport] += 1
            return True
        return self._random is not None and self._random.random() < SHARE

    def install(self) -> None:
        make = RTCIceTransport.__init__

        def make_leaky(transport: RTCIceTransport, *args: object) -> None:
            make(transport, *args)
            receive: Callable[[], Awaitable[bytes]] = transport._recv

            async def receive_some() -> bytes:
                while True:
                    data = await receive()
                    if not 127 < data[0] < 192 or is_rtcp(data) or not self.loses(transport):
                        return data

            transport._recv = receive_some

        RTCIceTransport.__init__ = make_leaky


def main() -> None:
    line = LossyLine()
    line.install()
    signal.signal(signal.SIGUSR1, line.lose_one)
    signal.signal(signal.SIGUSR2, line.toggle)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
