"""The page of ``tolmach eval`` in Chromium: opened from the disk it is readable, accessible, asks nobody, and plays."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Playwright

from tests.browser.chrome import Tolmach, launch
from tests.unit.test_evaluation import ABOUT, outcomes
from tolmach.pipelines.cli.evaluation.clips import Piece, data_uris
from tolmach.pipelines.cli.evaluation.page import render, worst_sentences
from tolmach.pipelines.cli.evaluation.results import evaluate

pytestmark = pytest.mark.browser

PLAY = """new Promise((done, failed) => {
  const sound = document.querySelector("audio");
  sound.onloadedmetadata = () => done(sound.duration);
  sound.onerror = () => failed(sound.error.message);
  sound.load();
})"""


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sacrebleu")
    folder = tmp_path_factory.mktemp("eval")
    results = evaluate(outcomes(), folder, ABOUT)
    worst = worst_sentences(results)
    recording = Piece(root / "config/demo/phrasebook-en.flac", 2.623, 3.829)
    # A thread of its own: Playwright's loop runs in this one.
    clips: list[Any] = []

    async def cut() -> None:
        clips.extend(await data_uris([recording]))

    thread = threading.Thread(target=lambda: asyncio.run(cut()))
    thread.start()
    thread.join()
    path = folder / "index.html"
    path.write_text(render(results, worst, [(clips[0], None)]), encoding="utf-8")
    return path


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_the_page_of_an_evaluation(
    page: Path, chromium: str, playwright: Playwright, pictures: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    browser = launch(playwright, chromium, None)
    try:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        opened = Tolmach(context, page.as_uri(), pictures)
        for details in opened.page.locator("summary").all():
            details.click()
        opened.picture(f"eval-{scheme}", full=True)
        assert opened.violations() == []
        assert opened.say("document.documentElement.scrollWidth <= innerWidth")
        assert opened.say(PLAY) == pytest.approx(1.206 + 0.5, abs=0.05)  # a quarter of a second on each side
        assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
        assert opened.complaints == []
    finally:
        browser.close()
