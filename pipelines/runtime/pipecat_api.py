"""The names of pipecat that the lowering uses, imported in one place and quietly.

pipecat greets on import and logs the life of every processor at DEBUG through loguru, straight to the user's terminal.
It is silenced before its first import; set ``TOLMACH_PIPECAT_LOG=1`` to hear it.
"""

from __future__ import annotations

import os

from loguru import logger

if os.environ.get("TOLMACH_PIPECAT_LOG", "") in ("", "0"):
    logger.disable("pipecat")

from pipecat.frames.frames import CancelFrame, DataFrame, EndFrame, StartFrame
from pipecat.frames.frames import Frame as PipecatFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import (
    FrameDirection,
    FrameProcessor,
    FrameProcessorSetup,
)
from pipecat.workers.runner import WorkerRunner

__all__ = [
    "BaseObserver",
    "BasePipeline",
    "CancelFrame",
    "DataFrame",
    "EndFrame",
    "FrameDirection",
    "FrameProcessor",
    "FrameProcessorSetup",
    "PipecatFrame",
    "PipelineWorker",
    "StartFrame",
    "WorkerRunner",
]
