"""Chromium with a recording for a microphone, and what the tests want to know of the page in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

# What only costs time in a test, or asks the network. The last feature lets ICE see the addresses of this machine.
ARGUMENTS = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    "--disable-features=MediaRouter,OptimizationHints,Translate,WebRtcHideLocalIpsWithMdns",
)
# Playwright's own would mute the loudspeaker, and a second list of features would replace ours.
WITHOUT = ["--disable-features", "--mute-audio"]

LISTEN = """() => {
  const context = new AudioContext();
  const node = new AnalyserNode(context, { fftSize: 2048 });
  context.createMediaStreamSource(tolmach.remote).connect(node);
  const samples = new Float32Array(node.fftSize);
  window.heard = [];
  setInterval(() => {
    node.getFloatTimeDomainData(samples);
    let energy = 0;
    for (const sample of samples) energy += sample * sample;
    window.heard.push({ atMs: performance.now(), rms: Math.sqrt(energy / samples.length) });
  }, 40);
}"""
"""Measures the level of the remote track every 40 ms, which is about what a frame of 2048 samples covers."""


VIOLATIONS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
    `${id}: ${target.flat().join(" ")}: ${failureSummary}`));
}"""


@cache
def axe() -> str:
    """The script of axe-core."""
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome: of the environment's TOLMACH_CHROMIUM, or on the PATH."""
    given = os.environ.get("TOLMACH_CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)


def launch(
    playwright: Playwright, path: str, microphone: Path | None, *, allowed: bool = True, arguments: Sequence[str] = ()
) -> Browser:
    """Start Chromium.

    Args:
        playwright: The driver.
        path: The program.
        microphone: A wav that is heard once from the moment the microphone is opened; None for Chromium's own beeps.
        allowed: Whether the question about the microphone is answered with yes.
        arguments: Further ones of the command line.
    """
    given = [*ARGUMENTS, *arguments]
    if allowed:
        given.append("--use-fake-ui-for-media-stream")
    if microphone is not None:
        given.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    return playwright.chromium.launch(executable_path=path, args=given, ignore_default_args=WITHOUT)


class Tolmach:
    """The page, as a person and its test hook (`window.tolmach`) see it."""

    def __init__(self, context: BrowserContext, address: str, pictures: Path) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self._pictures = pictures
        self.page.on("console", lambda m: m.type == "error" and self.complaints.append(m.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def until(self, condition: str, timeout_s: float = 20.0) -> None:
        """Wait until a JavaScript expression is true. (wait_for_function() would need eval, which the page forbids.)"""
        for _ in range(round(timeout_s * 10)):
            if self.page.evaluate(f"() => Boolean({condition})"):
                return
            self.page.wait_for_timeout(100)
        state = self.page.evaluate("() => document.body.innerText")
        raise AssertionError(f"not within {timeout_s:g} s: {condition}\n{self.complaints}\nThe page says:\n{state}")

    def start(self) -> None:
        """Press Start and wait until the graph listens."""
        self.until("!document.getElementById('start').disabled")
        self.page.get_by_role("button", name="Start").click()
        self.until("tolmach.state === 'live' && tolmach.lit.length > 0", 30)

    def listen(self) -> None:
        """Begin to measure what is heard."""
        self.page.evaluate(LISTEN)

    def heard(self, threshold: float = 0.01) -> list[bool]:
        """For each 40 ms since :meth:`listen`: whether something was heard (RMS of full scale over the threshold)."""
        return [bool(loud) for loud in self.page.evaluate(f"() => heard.map((h) => h.rms > {threshold})")]

    def say(self, expression: str) -> Any:
        """The value of an expression."""
        return self.page.evaluate(f"() => {expression}")

    def captions(self) -> list[dict[str, Any]]:
        """Final captions of the session."""
        return [c for c in self.say("tolmach.captions") if c["final"]]

    def wait_for_captions(self, count: int, timeout_s: float = 30.0) -> list[dict[str, Any]]:
        """Wait for so many final captions and give them."""
        self.until(f"tolmach.captions.filter((c) => c.final).length >= {count}", timeout_s)
        return self.captions()

    def download(self, button: str, place: str = "#downloads") -> bytes:
        """What is behind one of the buttons that save, in the element of this selector."""
        with self.page.expect_download() as saved:
            self.page.locator(place).get_by_role("button", name=button).press("Enter")
        return saved.value.path().read_bytes()

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is now (WCAG 2.2 A and AA, and its best practices)."""
        if not self.say("'axe' in window"):
            self.page.evaluate(axe())
        found: list[str] = self.page.evaluate(VIOLATIONS)
        return found

    def picture(self, name: str, *, full: bool = False) -> None:
        """Keep a screenshot under build/browser."""
        self.page.screenshot(path=self._pictures / f"{name}.png", full_page=full)
