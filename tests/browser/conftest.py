"""Chromium, a served folder of graphs, and pages in it. Everything is real; only the microphone is a recording."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.chrome import Tolmach, find_chromium, launch
from tests.browser.served import served
from tests.browser.sound import spoken

GRAPHS = ("phrasebook-live", "echo")


class OpenPage(Protocol):
    """Opens the page of Tolmach; see the fixture."""

    def __call__(
        self, address: str, *, say: tuple[str, Sequence[int] | None] | Path | None = None, **options: Any
    ) -> Tolmach: ...


@pytest.fixture(scope="package")
def chromium() -> str:
    """Path of the browser."""
    path = find_chromium()
    if path is None:
        pytest.skip(
            "NO CHROMIUM: nothing of the page was tested. Install it (apt install chromium) or set TOLMACH_CHROMIUM"
        )
    return path


# Of the package, not the session: Playwright's loop runs until it is stopped, and async tests come after these.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """The driver."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="package")
def pictures(root: Path) -> Path:
    """Where screenshots and logs are kept."""
    folder = root / "build" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def graphs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A watched folder of shipped graphs."""
    folder = tmp_path_factory.mktemp("graphs")
    for name in GRAPHS:
        shutil.copy(root / "config" / f"{name}.yaml", folder)
    return folder


@pytest.fixture(scope="package")
def address(chromium: str, graphs: Path, pictures: Path) -> Iterator[str]:
    """Address of a server of that folder, with the phrasebook loaded."""
    with served(graphs, pictures / "server.log", "--default-graph", "phrasebook-live") as found:
        yield found


@pytest.fixture
def open_page(
    request: pytest.FixtureRequest,
    root: Path,
    tmp_path: Path,
    playwright: Playwright,
    chromium: str,
    pictures: Path,
) -> Iterator[OpenPage]:
    """Opens a page in a Chromium of its own: `open_page(address, say=("en", [0, 5]), **options of the context)`.

    `say` names the language and phrases of the demonstration that the microphone hears, None for all of them, or is a
    wav of :mod:`tests.browser.sound`. When a test fails, the page's picture is kept.
    """
    browsers: list[Browser] = []
    pages: list[Tolmach] = []

    def open_page(
        address: str,
        *,
        say: tuple[str, Sequence[int] | None] | Path | None = None,
        allowed: bool = True,
        arguments: Sequence[str] = (),
        before: Callable[[Any], None] = lambda context: None,
        **options: Any,
    ) -> Tolmach:
        microphone = say if say is None or isinstance(say, Path) else spoken(root, tmp_path, *say)
        browser = launch(playwright, chromium, microphone, allowed=allowed, arguments=arguments)
        browsers.append(browser)
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 850}, **options})
        before(context)
        page = Tolmach(context, address, pictures)
        pages.append(page)
        return page

    failed_before = request.session.testsfailed
    yield open_page
    if request.session.testsfailed > failed_before:
        for number, page in enumerate(pages):
            page.picture(f"failed-{re.sub(r'[^a-zA-Z0-9]+', '-', request.node.name)}-{number}")
    for browser in browsers:
        browser.close()
