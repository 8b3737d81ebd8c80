"""The other baseline: an echo server of bare aiortc, which adds the track it receives to what it sends.

Every frame is decoded and encoded again, and nothing else happens. Served like the others by uvicorn and its loop.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from fastapi import FastAPI


def make_app() -> FastAPI:
    app = FastAPI()
    connections: set[RTCPeerConnection] = set()

    @app.post("/api/offer")
    async def offer(body: dict[str, Any]) -> dict[str, str]:
        # An empty list, not None: None would ask Google's STUN server for our address.
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.add(pc)

        @pc.on("track")
        def echo(track: MediaStreamTrack) -> None:
            pc.addTrack(track)

        @pc.on("connectionstatechange")
        async def changed() -> None:
            if pc.connectionState in ("failed", "closed"):
                connections.discard(pc)
                await pc.close()

        await pc.setRemoteDescription(RTCSessionDescription(sdp=body["sdp"], type="offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        return {"sdp": pc.localDescription.sdp, "type": pc.localDescription.type}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
