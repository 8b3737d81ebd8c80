"""A graph inside somebody else's program: ``async with tolmach.open("graph.yaml") as graph``.

The graph plays in a task of the caller's loop. What fails it is raised where the program awaits anything: by the two
ends that the program holds, and, if it is awaiting something else, by the block itself, which is cancelled as a
:class:`asyncio.TaskGroup` is (docs/adr/0024). Leaving the block ends the graph gracefully, an exception cancels it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tolmach.pipelines.bus import Bus, Message, StateMessage
from tolmach.pipelines.errors import Cancelled, Ended, GraphError
from tolmach.pipelines.graph import Graph
from tolmach.pipelines.language.builder import GraphBuilder
from tolmach.pipelines.language.check import graph_source, load_graph
from tolmach.pipelines.language.diagnostics import suggest
from tolmach.pipelines.language.launch_line import is_line
from tolmach.pipelines.registry import Registry, load_runtime

if TYPE_CHECKING:
    # Not at run time: they bring numpy and pipecat, seconds that an event loop is not to stand still for.
    from tolmach.pipelines.builtin.app_ends import AppInput, AppOutput
    from tolmach.pipelines.runtime.runner import GraphRunner, RunResult

__all__ = ["RunningGraph", "open"]

Source: TypeAlias = str | os.PathLike[str] | Graph | GraphBuilder
"""Path of a YAML file, name of a shipped graph, launch line, YAML text, or a graph built in Python."""

_TURNS = 10
"""Turns of the loop that a failure has to reach who waits for it, through a task or two, before the block is cancelled
for it."""

_End = TypeVar("_End")


def open(  # noqa: A001 -- tolmach.open, as gzip.open
    source: Source,
    *,
    params: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    warm: bool = False,
    bus: Bus | None = None,
    base_dir: Path | None = None,
    overwrite: bool = True,
    trace: bool = False,
    resources: Mapping[str, object] | None = None,
    registry: Registry | None = None,
    env: Mapping[str, str] | None = None,
) -> RunningGraph:
    """A graph to run in this program: ``async with tolmach.open("graph.yaml") as graph``.

    Nothing happens before the block begins; then the graph is checked, its models are loaded, and it plays.

    Args:
        source: Path of a YAML file, name of a shipped graph, a graph on one line (``app_src ! app_sink``), YAML text,
            or a graph built in Python (:class:`tolmach.GraphBuilder`, or what it or ``load_graph`` gave).
        params: Values of its params (``--set target_lang=de``).
        settings: Settings by ``element.setting`` (``--set vad.hangover_ms=900``).
        warm: Whether to run each model once before the graph plays, so that the first sentence is not the slow one.
        bus: Bus to post on, to subscribe before the graph is loaded; a new one by default.
        base_dir: Folder that relative paths in settings start from; the current folder by default.
        overwrite: Whether sinks may replace existing files.
        trace: Whether to collect figures per element, for :attr:`RunningGraph.result`.
        resources: What elements find by name (:meth:`tolmach.pipelines.element.Context.resource`), besides the ends of
            app_src and app_sink.
        registry: Element types; what Tolmach ships and what is installed when None.
        env: The environment for ``${env:…}``; that of the process when None.
    """
    return RunningGraph(
        lambda: _checked(source, params, settings, registry, env),
        bus or Bus(),
        dict(resources or {}),
        {"warm": warm, "base_dir": base_dir, "overwrite": overwrite, "trace": trace},
    )


def _checked(
    source: Source,
    params: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None,
    registry: Registry | None,
    env: Mapping[str, str] | None,
) -> Graph:
    """The graph that ``source`` stands for. Raises GraphError."""
    if isinstance(source, Graph | GraphBuilder):
        if params or settings:
            raise GraphError("this graph is built already: give params and settings to what makes it")
        return source if isinstance(source, Graph) else source.build()
    given: dict[str, Any] = {"params": params, "overrides": settings, "registry": registry, "env": env}
    if isinstance(source, str) and _is_document(source):
        return load_graph("<string>", text=source, require_params=True, **given)
    return load_graph(graph_source(source if isinstance(source, str) else Path(source)), require_params=True, **given)


_KEY = re.compile(r"^(?:\s*\{|[\w-]+\s*:(?:\s|$))", re.MULTILINE)
"""Where a mapping begins, as a graph is one: ``version: 1``, ``{version: 1``."""


def _is_document(source: str) -> bool:
    """Whether a text is a YAML document, and no name and no launch line, which may have several lines as well."""
    return bool(_KEY.search(source)) or ("\n" in source and not is_line(source))


class RunningGraph:
    """A graph that plays inside a program; made by :func:`open`, used once.

    Attributes:
        bus: What the graph tells: ``graph.bus.subscribe(lambda message: …)``.
        result: How it ended, once it has.
    """

    def __init__(
        self, check: Callable[[], Graph], bus: Bus, resources: dict[str, object], options: Mapping[str, Any]
    ) -> None:
        self.bus = bus
        self.result: RunResult | None = None
        self._check = check
        self._options = options
        self._resources = resources
        self._ends: dict[str, AppInput | AppOutput] = {}
        self._runner: GraphRunner | None = None
        self._task: asyncio.Task[None] | None = None
        self._used = False
        self._playing = asyncio.Event()
        self._error: BaseException | None = None
        self._block: asyncio.Task[Any] | None = None  # the task inside the block, while it is
        self._cancels = 0  # what the block's task had been asked before
        self._interrupted = False
        self._told = False  # whether the block has been raised what failed the graph

    # Begin and end ------------------------------------------------------------------------------------------------

    async def start(self) -> RunningGraph:
        """Check the graph, load its models, play; for where no block will do (a notebook, a service's start-up).

        :meth:`close` belongs to it. Without a block nothing is cancelled when the graph fails: its ends, :meth:`wait`
        and :meth:`close` raise it.

        Raises:
            GraphError: If there is anything wrong with the graph, with all diagnostics.
            TolmachError: If an element cannot start (missing model, unreadable recording).
            RuntimeError: If it was started before.

        Cancelled by: the caller; what was started is stopped again.
        """
        if self._used:
            raise RuntimeError("a graph is opened once; call tolmach.open again")
        self._used = True
        # In a thread: the check and the imports take what an event loop notices (pipecat a second).
        graph, runner_of = await asyncio.to_thread(self._prepare)
        self._runner = runner = runner_of(
            graph, bus=self.bus, resources={**self._resources, **self._make_ends(graph)}, **self._options
        )
        unsubscribe = self.bus.subscribe(self._note)
        self._task = asyncio.create_task(self._run(runner), name=f"graph {graph.name}")
        try:
            await self._playing.wait()
        except asyncio.CancelledError:
            runner.cancel()
            await self._over()
            raise
        finally:
            unsubscribe()
        if self._error is not None:
            await self._over()
            raise self._error
        return self

    async def close(self) -> RunResult:
        """End gracefully: sources stop, what is under way is finished and written, then the result is there.

        What the program has not taken from an app_sink stays there and can still be read. Safe twice.

        Raises:
            TolmachError: What failed the graph.
            RuntimeError: If it was not started.

        Cancelled by: the caller, which cancels the graph.
        """
        self._finish()
        return await self.wait()

    async def __aenter__(self) -> RunningGraph:
        await self.start()
        self._block = asyncio.current_task()
        self._cancels = self._block.cancelling() if self._block is not None else 0
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block, self._block = self._block, None  # from here on nothing interrupts it
        outside = False
        if error is None and not self._interrupted:
            self._finish()
        elif self._runner is not None:
            self._runner.cancel()
        if self._interrupted and block is not None:
            if not isinstance(error, asyncio.CancelledError):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)  # the cancel may not have been delivered yet
            outside = block.uncancel() > self._cancels
        await self._over()
        if self._error is None or self._told or outside or error is self._error:
            return
        if error is None or (self._interrupted and isinstance(error, asyncio.CancelledError)):
            raise self._error
        error.add_note(f"The graph {self.graph.name!r} failed: {self._error}")

    async def _over(self) -> None:
        """Wait for the end of the graph's task. Cancelled by: the caller, which cancels the graph first."""
        task, runner = self._task, self._runner
        if task is None or runner is None:
            return
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as asked:
                cancelled = asked
                runner.cancel()
        if cancelled is not None:
            raise cancelled

    def _finish(self) -> None:
        if self._runner is None:
            raise RuntimeError("the graph was not started; use `async with tolmach.open(...)`, or await start()")
        for end in self._ends.values():
            if hasattr(end, "release"):
                end.release()
        self._runner.finish()

    # While it plays -----------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The checked graph, with its settings as they are now. Raises RuntimeError before the start."""
        if self._runner is None:
            raise RuntimeError("the graph was not started; use `async with tolmach.open(...)`, or await start()")
        return self._runner.graph

    def __getitem__(self, name: str) -> Any:
        """What the program pushes into the app_src called ``name``, or takes from the app_sink.

        Raises:
            GraphError: If the graph has no such app_src or app_sink.
        """
        if (end := self._ends.get(name)) is not None:
            return end
        node = self.graph.nodes.get(name)
        listed = f"it has {', '.join(self._ends)}" if self._ends else "it has none"
        if node is not None:
            raise GraphError(
                f"element {name!r} is of type {node.spec.type}; a program uses app_src and app_sink, and {listed}"
            )
        hint = suggest(name, self._ends, listed)
        raise GraphError(f"the graph {self.graph.name!r} has no app_src or app_sink named {name!r}; {hint}")

    def input(self, name: str) -> AppInput:
        """As ``graph[name]``, for type checkers. Raises GraphError, also if it is an app_sink."""
        from tolmach.pipelines.builtin.app_ends import AppInput

        return self._typed(name, AppInput)

    def output(self, name: str) -> AppOutput:
        """As ``graph[name]``, for type checkers. Raises GraphError, also if it is an app_src."""
        from tolmach.pipelines.builtin.app_ends import AppOutput

        return self._typed(name, AppOutput)

    async def set(self, target: str | Mapping[str, Any], value: Any = None) -> None:
        """Change a setting while the graph plays: ``await graph.set("vad.hangover_ms", 700)``.

        It must be declared :data:`~tolmach.pipelines.element.Live`, and the value is checked as at a check. It is taken
        at the next utterance or sooner; docs/PYTHON.md says which when.

        Args:
            target: ``element.setting``, or a mapping of such to values that only fit together.
            value: The value of a single one.

        Raises:
            GraphError: If it may not change or the value is not right, with a diagnostic for each; nothing has changed.
            Ended: If the graph has ended.
            TolmachError: What failed the graph, or an element that cannot take it.
            RuntimeError: If the graph was not started.

        Does not wait, so nothing cancels it.
        """
        if self._runner is None or self._task is None:
            raise RuntimeError("the graph was not started; use `async with tolmach.open(...)`, or await start()")
        if self._error is not None:
            self._note_told()
            raise self._error
        if self._task.done():
            raise Ended(f"the graph {self.graph.name!r} has ended")
        self._runner.set({target: value} if isinstance(target, str) else target)

    async def wait(self) -> RunResult:
        """Wait until the graph has ended by itself: every source at its end, everything written.

        Its app_sinks must be read meanwhile, or the graph waits for the program.

        Raises:
            TolmachError: What failed the graph.
            RuntimeError: If it was not started.

        Cancelled by: the caller, which cancels the graph.
        """
        if self._task is None:
            raise RuntimeError("the graph was not started; use `async with tolmach.open(...)`, or await start()")
        await self._over()
        if self._error is not None:
            self._note_told()
            raise self._error
        assert self.result is not None  # noqa: S101 -- the task has ended without an error
        return self.result

    def cancel(self) -> None:
        """Stop now and throw away what is unfinished; the ends raise Cancelled. Safe twice."""
        if self._runner is not None:
            self._runner.cancel()

    # Inside -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Graph, type[GraphRunner]]:
        graph = self._check()
        from tolmach.pipelines.runtime.runner import GraphRunner

        for node in graph.nodes.values():
            try:
                load_runtime(node.spec)
            except Exception:  # noqa: S112 -- the runner says it, with the name of the element
                continue
        return graph, GraphRunner

    def _make_ends(self, graph: Graph) -> Mapping[str, object]:
        from tolmach.pipelines.builtin.app_ends import AppInput, AppOutput

        kinds: Mapping[str, type[AppInput] | type[AppOutput]] = {"app_src": AppInput, "app_sink": AppOutput}
        for name, node in graph.nodes.items():
            if (kind := kinds.get(node.spec.type)) is None:
                continue
            if name in self._resources:
                raise GraphError(f"a resource cannot be called {name!r}: that is the {node.spec.type} of the graph")
            self._ends[name] = end = kind(name)
            end.on_failure = self._note_told
        return self._ends

    def _typed(self, name: str, kind: type[_End]) -> _End:
        end = self[name]
        if not isinstance(end, kind):
            raise GraphError(f"element {name!r} is of type {self.graph.nodes[name].spec.type}")
        return end

    def _note(self, message: Message) -> None:
        if isinstance(message, StateMessage) and message.state == "playing":
            self._playing.set()

    def _note_told(self) -> None:
        if asyncio.current_task() is self._block:
            self._told = True

    async def _run(self, runner: GraphRunner) -> None:
        played = False
        try:
            self.result = await runner.run()
            self._error = self.result.error
        except asyncio.CancelledError:  # somebody cancels all tasks of the loop
            self._error = Cancelled(f"the graph {runner.graph.name!r} was cancelled")
            raise
        except Exception as error:  # what cannot start; raised by start()
            self._error = error
        finally:
            played = self._playing.is_set()
            self._playing.set()
        if self._error is None or not played:
            return
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self._block is not None and not self._told:
            self._interrupted = True
            self._block.cancel(f"the graph {runner.graph.name!r} failed")
