"""Blocking work off the event loop, in a thread that the end of the process does not wait for.

``asyncio.to_thread`` uses an executor that ``asyncio.run`` joins, for minutes if need be: Ctrl-C during a download, or
while PyTorch is imported, would be answered when that is over.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

Args = ParamSpec("Args")
Result = TypeVar("Result")


async def off_loop(function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
    """What ``function`` returns, called in a daemon thread of its own with this task's context variables.

    Cancelled by: the caller; the function goes on, its result is thrown away. Raises what it raises.
    """
    future: Future[Result] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        settle(future, lambda: context.run(function, *args, **kwargs))

    threading.Thread(target=work, name=f"off-loop-{getattr(function, '__name__', 'work')}", daemon=True).start()
    return await asyncio.wrap_future(future)


def settle(future: Future[Result], function: Callable[[], Result]) -> None:
    """Call ``function`` unless the future was cancelled, and give the future what it returns or raises."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
