"""OpenAI's realtime translations over a WebSocket: 24 kHz PCM16 in base64 both ways, events of JSON.

What is to be heard goes out somewhat ahead of real time, so that a client which plays what comes as it comes does not
run dry when a packet of the network is late; and no further ahead, for what has been sent cannot be said faster any
more when the speaker has run away. Silence is not sent.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from tolmach.pipelines.frames import NS_PER_MS, NS_PER_S, Samples
from tolmach.transports.mono import MonoConverter
from tolmach.transports.webrtc.opus import FRAME_NS, RTP_RATE_HZ
from tolmach.transports.webrtc.outgoing.sender import OutgoingPacket
from tolmach.transports.websocket.pcm_peer import PcmPeer, Socket
from tolmach.web.doors.openai.realtime.events import RATE_HZ, write
from tolmach.web.doors.openai.realtime.talk import Talk

__all__ = ["SocketPeer"]

FRAME = RATE_HZ // 50
"""Samples of a packet."""
CHUNK = 10 * FRAME
"""Samples of a delta at most: 200 ms, the frame of the protocol's engine."""
LEAD_NS, REST_NS = 400 * NS_PER_MS, 200 * NS_PER_MS
"""How far what was sent may be ahead of real time, and down to what that sinks before more is sent: so that deltas stay
whole."""
_WAIT_S = 0.06
"""How long less than a delta waits for more: three packets."""


class SocketPeer(PcmPeer):
    """The client of one session, on a WebSocket.

    Args:
        socket: Accepted already.
        talk: What is said on it.
        idle_s: When who sends no audio is hung up on, s.
    """

    def __init__(self, socket: Socket, talk: Talk, *, idle_s: float) -> None:
        super().__init__(socket, paced=False, idle_s=idle_s)
        self._talk = talk
        self._converter = MonoConverter(RTP_RATE_HZ, RATE_HZ)
        self._pieces: list[Samples] = []  # 24 kHz, less than a delta
        self._waiting = 0  # samples in them
        self._late: asyncio.TimerHandle | None = None
        self._sent_until_ns = 0  # when what was sent will have been played, on the sender's clock

    # What the client says -----------------------------------------------------------------------------------------

    async def heard(self, text: str | bytes) -> None:
        """Do what an event asks for.

        Raises:
            TooManyMistakes: See :meth:`Talk.heard`.

        Cancelled by: who reads the socket.
        """
        await self._talk.heard(text, append=self._append, finish=self.receiver.end, post=self.post)

    async def _append(self, pcm: bytes) -> None:
        await self.receiver.write(pcm, RATE_HZ)

    # What it is told ----------------------------------------------------------------------------------------------

    def tell(self, kind: str, fields: Mapping[str, Any], *, ephemeral: bool = False) -> bool:
        """Say it in events of the protocol."""
        return all(self.post(event) for event in self._talk.told(kind, fields))

    def last_words(self, reason: str) -> None:
        """The rest of the audio, and that the session is over."""
        if self._waiting:
            self._send_deltas()
        for event in self._talk.farewell(reason):
            self.post(event)
        self.close_code = self._talk.close_code

    # What it hears ------------------------------------------------------------------------------------------------

    async def ready_for_more(self) -> None:
        """Wait while what was sent is far enough ahead."""
        ahead_ns = self._sent_until_ns - self.receiver.clock()
        if ahead_ns > LEAD_NS and self._waiting < FRAME:
            await asyncio.sleep((ahead_ns - REST_NS) / NS_PER_S)
        if self._waiting and self._late is None:
            self._late = asyncio.get_running_loop().call_later(_WAIT_S, self._send_deltas)

    def play(self, packet: OutgoingPacket) -> None:
        """Collect what is to be heard, and send it in deltas."""
        if packet.samples is not None:
            self._sent_until_ns = max(self._sent_until_ns, self.receiver.clock()) + FRAME_NS
            samples = self._converter.convert(packet.samples[:, None])
            self._pieces.append(samples)
            self._waiting += len(samples)
        if self._waiting >= CHUNK or packet.ends:
            self._send_deltas(all_of_it=packet.ends)

    def _send_deltas(self, *, all_of_it: bool = True) -> None:
        """Send what has been collected, or the whole deltas of it."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        collected = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)
        count = len(collected) if all_of_it else len(collected) // CHUNK * CHUNK
        self._pieces, self._waiting = [collected[count:]], len(collected) - count
        for start in range(0, count, CHUNK):
            pcm = np.round(np.clip(collected[start : min(start + CHUNK, count)], -1, 1) * 32767)
            self.post(
                write(
                    "session.output_audio.delta",
                    delta=base64.b64encode(pcm.astype("<i2").tobytes()).decode("ascii"),
                    elapsed_ms=self._talk.elapsed_ms(),
                    sample_rate=RATE_HZ,
                    channels=1,
                    format="pcm16",
                )
            )
