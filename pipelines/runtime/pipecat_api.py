"""The names of pipecat that Tolmach uses, imported in one place and quietly.

pipecat greets on import and logs the life of every processor at DEBUG through loguru, straight to the user's terminal.
It is silenced before its first import; set ``TOLMACH_PIPECAT_LOG=1`` to hear it. A program that imported pipecat
before is pipecat's own user, and what it logs is left as it is.

Private parts that are relied on: :meth:`GraphPipeline.setup` and ``cleanup`` (tests/unit/test_pipecat_hooks.py).
"""

from __future__ import annotations

import os
import sys

from loguru import logger

if "pipecat" not in sys.modules and os.environ.get("TOLMACH_PIPECAT_LOG", "") in ("", "0"):
    logger.disable("pipecat")

from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import (
    AudioRawFrame,
    CancelFrame,
    DataFrame,
    EagerTranscriptionFrame,
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    StartFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.frames.frames import Frame as PipecatFrame
from pipecat.frames.frames import TranslationFrame as PipecatTranslationFrame
from pipecat.metrics.metrics import ProcessingMetricsData
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.pipeline import Pipeline, PipelineSink, PipelineSource
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameCallback, FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.transcriptions.language import Language
from pipecat.utils.asyncio.task_manager import TaskManager
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner

__all__ = [
    "AudioRawFrame",
    "BaseObserver",
    "BasePipeline",
    "CancelFrame",
    "DataFrame",
    "EagerTranscriptionFrame",
    "EndFrame",
    "ErrorFrame",
    "FrameCallback",
    "FrameDirection",
    "FrameProcessor",
    "FrameProcessorSetup",
    "InputAudioRawFrame",
    "InterimTranscriptionFrame",
    "InterruptionFrame",
    "LLMFullResponseEndFrame",
    "LLMFullResponseStartFrame",
    "Language",
    "MetricsFrame",
    "OutputAudioRawFrame",
    "PipecatFrame",
    "PipecatTranslationFrame",
    "Pipeline",
    "PipelineSink",
    "PipelineSource",
    "PipelineWorker",
    "ProcessingMetricsData",
    "StartFrame",
    "SystemClock",
    "TTSAudioRawFrame",
    "TTSSpeakFrame",
    "TTSStartedFrame",
    "TTSStoppedFrame",
    "TTSTextFrame",
    "TaskManager",
    "TextFrame",
    "TranscriptionFrame",
    "UserStartedSpeakingFrame",
    "UserStoppedSpeakingFrame",
    "VADUserStartedSpeakingFrame",
    "VADUserStoppedSpeakingFrame",
    "WorkerRunner",
    "time_now_iso8601",
]
