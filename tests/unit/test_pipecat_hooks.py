"""What Tolmach relies on inside pipecat; a failure here means that pipelines/runtime must be adapted."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from pipecat.pipeline.base_pipeline import BasePipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.whisper.stt import WhisperSTTService

ROOT = Path(__file__).resolve().parents[2]
READ = ("1.13", "1.14")
"""Releases whose sources were read, first and last."""


def test_this_version_was_read() -> None:
    read = [tuple(int(n) for n in each.split(".")) for each in READ]
    mine = tuple(int(n) for n in version("pipecat-ai").split(".")[:2])
    assert read[0] <= mine <= read[-1], (
        "read processors/frame_processor.py, pipeline/base_pipeline.py, pipeline/pipeline.py, services/stt_service.py, "
        "services/whisper/stt.py, then change READ and the range in pyproject.toml"
    )


def test_the_range_that_is_promised_is_the_one_that_was_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ours,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "pipecat-ai")
    first, last = READ
    major, minor = last.split(".")
    assert {str(each) for each in ours.specifier} == {f">={first}", f"<{major}.{int(minor) + 1}"}


def test_a_graph_sets_its_processors_up_as_pipecats_pipeline_does() -> None:
    """GraphPipeline.setup and cleanup call these; a pipeline of pipecat's own does it in the same order."""
    source = inspect.getsource(Pipeline.setup)
    assert source.index("super().setup(setup)") < source.index("self._setup_finished()")
    assert source.index("self._setup_finished()") < source.index("self._setup_processors(self._processors, setup)")
    assert "self._cleanup_processors(self._processors)" in inspect.getsource(Pipeline.cleanup)
    assert list(inspect.signature(BasePipeline._setup_processors).parameters) == ["self", "processors", "setup"]
    assert list(inspect.signature(BasePipeline._cleanup_processors).parameters) == ["self", "processors"]


def test_direct_mode_is_a_call() -> None:
    """A push that returns has been worked through: all of a graph's back-pressure."""
    source = inspect.getsource(FrameProcessor.queue_frame)
    direct = source[source.index("if self._enable_direct_mode:") :]
    assert direct.index("await self.__process_frame(frame, direction, callback)") < direct.index("return")
    assert direct.index("return") < direct.index("await self.__input_queue.put(")


def test_a_processor_processes_through_its_public_method() -> None:
    """The bridge wraps `process_frame` on the instance, to know when a frame has been processed and what it raised."""
    source = inspect.getsource(FrameProcessor._FrameProcessor__process_frame)  # type: ignore[attr-defined]
    assert "await self.process_frame(frame, direction)" in source
    assert "await self.push_error(" in source


def test_services_that_ask_for_whole_utterances_say_when_they_have_worked_one_through() -> None:
    """An utterance without words gives no text, only the metrics of its request; the text follows in the same task."""
    source = inspect.getsource(WhisperSTTService.run_stt)
    assert source.index("await self.stop_processing_metrics()") < source.index("yield TranscriptionFrame(")
    assert "frame.finalized = True" in inspect.getsource(SegmentedSTTService.push_frame)
    assert "await self._segment_task" in inspect.getsource(SegmentedSTTService.stop)
