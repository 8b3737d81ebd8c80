"""Rooms for the tests of their page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.chrome import Tolmach


@contextmanager
def offered(graphs: Path, root: Path, name: str) -> Iterator[None]:
    """Let a shipped graph for a room be in the server's folder meanwhile; the server notices."""
    path = graphs / f"{name}.yaml"
    shutil.copy(root / "config" / path.name, path)
    try:
        yield
    finally:
        path.unlink()


def open_room(host: Tolmach, graph: str) -> None:
    """Open a room from the main page, and wait until its own page is there."""
    host.until(f"[...document.getElementById('graph').options].some((o) => o.value === '{graph}')")
    host.page.locator("#graph").select_option(graph)
    host.page.get_by_role("button", name="Open a room").click()
    host.page.wait_for_url("**/room#*")
    host.until("document.querySelectorAll('#seats li').length > 0 && tolmach.seat !== null")


def link_of(host: Tolmach, seat: str) -> str:
    """The link of a seat, as the host may send it to somebody."""
    link = host.page.locator(f'#seats li[data-seat="{seat}"] a').get_attribute("href")
    assert link is not None
    return link
