"""The baseline: an echo server on pipecat's SmallWebRTC transport, everything at its defaults.

Signalling is that of pipecat's own development runner (``POST /api/offer``), served as it does by ``uvicorn.run`` with
the event loop uvicorn picks, which is uvloop where installed. The worker's RTVI, turn tracking and idle time-out are
off: an echo needs none, and off is faster.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.request_handler import SmallWebRTCRequest, SmallWebRTCRequestHandler
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner


class Echo(FrameProcessor):
    """What came in goes out."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(
                audio=frame.audio, sample_rate=frame.sample_rate, num_channels=frame.num_channels
            )
        await self.push_frame(frame, direction)


async def run_session(connection: SmallWebRTCConnection) -> None:
    transport = SmallWebRTCTransport(
        webrtc_connection=connection, params=TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), Echo(), transport.output()]),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,
    )

    async def hang_up(*_: Any) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_disconnected", hang_up)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def make_app() -> FastAPI:
    app = FastAPI()
    handler = SmallWebRTCRequestHandler()
    sessions: set[asyncio.Task[None]] = set()

    async def begin(connection: SmallWebRTCConnection) -> None:
        session = asyncio.create_task(run_session(connection))
        sessions.add(session)
        session.add_done_callback(sessions.discard)

    @app.post("/api/offer")
    async def offer(body: dict[str, Any]) -> dict[str, str] | None:
        return await handler.handle_web_request(SmallWebRTCRequest(sdp=body["sdp"], type="offer"), begin)

    return app


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")  # at DEBUG, the runner's level, every join writes a page
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
