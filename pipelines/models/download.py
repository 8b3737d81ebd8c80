"""Large files from the net, in one piece however often the line breaks.

What has arrived lies in ``NAME.part`` beside the target, with a note of which version of the file it is a part of, and
the next call goes on behind it: HTTP range requests (RFC 9110, section 14) under ``If-Range`` (section 13.1.5), so that
a file that changed meanwhile begins anew instead of becoming half of each. Everything is bounded, and what is known of
the file, its length and its SHA-256, is checked before it gets its name.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from tolmach.pipelines.errors import ModelMissingError, ModelRefusedError
from tolmach.pipelines.models.caches import size_text

__all__ = ["DownloadError", "Remote", "curl_command", "download", "sha256_of"]

TellProgress = Callable[[str], None]

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30
"""Longest silence of the server, s."""
TRIES = 5
"""Requests in a row that may bring nothing before we give up; one that brought something starts the count anew."""
WAIT_S = (1, 2, 5, 10)
"""Pauses between those, s."""
REPORTS = 50
"""Lines of progress a whole file gives at most, and one in 16 MiB."""
ROOM_LEFT_BYTES = 64 << 20
"""What a download leaves free on the disk."""

_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(ModelMissingError):
    """A file could not be had; what has arrived stays, and the next call goes on."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server.

    Attributes:
        url: Where it is; https, or http where the user chose that.
        name: What it is called, for people.
        size_bytes: Its length, if that is known beforehand.
        sha256: Its digest, if that is known beforehand, lower-case hexadecimal.
        max_bytes: What it may at most be.
        headers: Further request headers (a token); they are not sent on to another host.
    """

    url: str
    name: str
    size_bytes: int | None = None
    sha256: str | None = None
    max_bytes: int = 64 << 30
    headers: Mapping[str, str] = field(default_factory=dict)


def download(
    remote: Remote,
    path: Path,
    progress: TellProgress,
    *,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Fetch a file to ``path``, going on with what an earlier call has left. Blocks; the process may end at any moment.

    Safe to call from several threads and processes at once: the others wait for the first, and find its file.

    Args:
        remote: Which file.
        path: Its name on this machine; only a whole and checked file ever gets it.
        progress: Told how far it is, one line at a time.
        pause: Waits a number of seconds before the next try.

    Raises:
        DownloadError: If it cannot be had. The message says what stays and how to go on, also by hand.
        ModelRefusedError: If it is another file than was expected: longer, shorter, or of another digest.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part.with_name(part.name + ".lock"), remote.name, progress):
            if path.is_file():
                return
            try:
                _Download(remote, part, progress, pause).run()
                part.replace(path)
            except ModelRefusedError:
                part.unlink(missing_ok=True)
                raise
            finally:
                if not part.exists() or not part.stat().st_size:
                    part.unlink(missing_ok=True)
                    _note_of(part).unlink(missing_ok=True)
    except OSError as error:
        # A failing disk or folder; what the net does wrong has become a DownloadError before.
        raise DownloadError(f"{remote.name} cannot be written to {path.parent}: {error.strerror or error}") from error


@contextmanager
def _locked(path: Path, name: str, progress: TellProgress) -> Iterator[None]:
    # The file stays: taken away, it would be another one for whoever waits than for whoever comes next.
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"{name}: waiting for another download of it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def curl_command(remote: Remote, part: Path) -> str:
    """A command that goes on with a download by hand."""
    return f"curl -L -C - -o {shlex.quote(str(part))} {shlex.quote(remote.url)}"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, lower-case hexadecimal. Blocks: some seconds a GiB."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _BrokenError(Exception):
    """The line broke, or the server is not well: another try may help."""


class _Download:
    """One file being fetched into its part file."""

    def __init__(
        self,
        remote: Remote,
        part: Path,
        progress: TellProgress,
        pause: Callable[[float], object],
    ) -> None:
        self._remote = remote
        self._part = part
        self._progress = progress
        self._pause = pause
        self._received = False  # whether this call has brought anything
        self._opener = urllib.request.build_opener(_Redirects(remote.url))
        self._total = remote.size_bytes
        self._mixed = False  # whether the part file holds answers to more than one request

    def run(self) -> None:
        """Fetch and check; the part file is whole afterwards.

        Raises: as :func:`download`.
        """
        while True:
            self._fetch()
            wrong = self._wrong()
            if wrong is None:
                return
            if not self._mixed:
                raise ModelRefusedError(
                    f"{self._remote.url} is not the file that was expected: {wrong}. It was deleted"
                )
            self._part.unlink()
            # Pieces of different versions, from a server that gives its files no names: once more, in one piece.
            self._progress(f"{self._remote.name}: {wrong}; downloading it anew")
            self._mixed = False

    def _fetch(self) -> None:
        fruitless = 0
        while True:
            before = self._have()
            try:
                if self._ask():
                    return
            except (_BrokenError, OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and not _is_network(error):
                    raise
                have = self._have()
                fruitless = 0 if have > before else fruitless + 1
                if fruitless >= TRIES or _is_final(error, self._received):
                    raise self._gave_up(error) from error
                wait_s = WAIT_S[min(max(fruitless - 1, 0), len(WAIT_S) - 1)]
                self._progress(f"{self._remote.name}: {_reason(error)}; going on in {wait_s} s")
                self._pause(wait_s)

    def _ask(self) -> bool:
        """One request; True when the file is complete, False to ask once more."""
        have, validator = self._have(), _read_note(self._part, self._remote.url)
        headers = {"User-Agent": "tolmach", "Accept-Encoding": "identity", **self._remote.headers}
        if have and not validator and self._remote.sha256 is None:
            self._truncate(0)  # nothing would tell whether what comes belongs to what is there
            have = 0
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        request = urllib.request.Request(self._remote.url, headers=headers)  # noqa: S310 -- _Redirects has checked it
        try:
            response = self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error, have)
        with response:
            begin, total = _extent(response, have)
            self._check_total(total)
            if begin not in (0, have):
                if not have:
                    raise _BrokenError("the server answered with a part of the file when asked for the whole")
                self._truncate(0)  # it does not mean what it says about ranges: the whole, then
                return False
            self._mixed = begin > 0
            self._check_room((total or 0) - begin)
            _write_note(self._part, self._remote.url, _validator(response.headers))
            self._receive(response, begin, total)
        return True

    def _refused(self, error: urllib.error.HTTPError, have: int) -> bool:
        if error.code == 416 and have:
            # Nothing behind what is there: it is whole (its digest will tell), or of another, shorter file.
            said = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            if said and int(said[1]) == have:
                self._check_total(have)
                return True
            self._truncate(0)
            return False
        if error.code in _TRY_AGAIN:
            raise _BrokenError(f"the server answers {error.code} {error.reason}")
        raise error

    def _receive(self, response: Any, begin: int, total: int | None) -> None:
        received = begin
        step = max(16 << 20, (total or 0) // REPORTS)
        reported, started = received, time.monotonic()
        verb = "going on with" if begin else "downloading"
        of = f" of {size_text(total)}" if total else ""
        self._progress(f"{verb} {self._remote.name}{f' at {size_text(begin)}' if begin else ''}{of}")
        with self._part.open("r+b" if self._part.exists() else "xb") as file:
            file.truncate(begin)
            file.seek(begin)
            while block := response.read(BLOCK_BYTES):
                received += len(block)
                if received > (self._total or self._remote.max_bytes):
                    raise ModelRefusedError(f"{self._remote.url} sends more than {size_text(received - len(block))}")
                file.write(block)
                self._received = True
                if received - reported >= step:
                    reported = received
                    speed = (received - begin) / max(time.monotonic() - started, 1e-3)
                    self._progress(f"{self._remote.name}: {size_text(received)}{of}, {_pace(received, total, speed)}")
            file.flush()
            os.fsync(file.fileno())
        if total is not None and received < total:
            raise _BrokenError(f"the connection broke after {size_text(received)}{of}")

    def _check_total(self, total: int | None) -> None:
        known = self._remote.size_bytes
        if total is None:
            return
        if known is not None and total != known:
            raise ModelRefusedError(
                f"{self._remote.url} is not the file that was expected: it has {total} bytes instead of {known}"
            )
        if total > self._remote.max_bytes:
            raise ModelRefusedError(f"{self._remote.url} is larger than {size_text(self._remote.max_bytes)}")
        self._total = total

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if needed + ROOM_LEFT_BYTES > free:
            raise DownloadError(
                f"{self._remote.name} needs {size_text(needed)} more in {self._part.parent}, which has "
                f"{size_text(free)} free"
            )

    def _wrong(self) -> str | None:
        have, known = self._have(), self._remote
        if known.size_bytes is not None and have != known.size_bytes:
            return f"it has {have} bytes instead of {known.size_bytes}"
        if known.sha256 is None:
            return None
        if have > 1 << 30:
            self._progress(f"{known.name}: checking its SHA-256")
        found = sha256_of(self._part)
        return None if found == known.sha256 else f"its SHA-256 is {found} instead of {known.sha256}"

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _truncate(self, size: int) -> None:
        os.truncate(self._part, size)

    def _gave_up(self, error: Exception) -> DownloadError:
        remote, have = self._remote, self._have()
        total = f" of {size_text(self._total)}" if self._total else ""
        text = f"{remote.name} could not be downloaded from {remote.url} ({_reason(error)})"
        if have:
            text += f"; {size_text(have)}{total} are kept, and the same command goes on from there"
        text += f". By hand: {curl_command(remote, self._part)}, then the same command again"
        if remote.sha256:
            size = f"{remote.size_bytes} bytes, " if remote.size_bytes else ""
            text += f" ({size}SHA-256 {remote.sha256})"
        return DownloadError(text)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only, or over http where the user's own address is such."""

    def __init__(self, url: str) -> None:
        self._allowed = {"https", "http"} if urlsplit(url).scheme == "http" else {"https"}
        if urlsplit(url).scheme not in self._allowed:
            raise DownloadError(f"{url} is no https address")

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        """Raises URLError instead of following a redirect to anything else."""
        if urlsplit(newurl).scheme not in self._allowed:
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if following is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            following.remove_header("Authorization")
        return following


def _extent(response: Any, have: int) -> tuple[int, int | None]:
    """First byte of an answer in the file (-1 when it is not said), and the length of the whole file if it is."""
    length = response.headers.get("Content-Length") or ""
    whole = int(length) if length.isdecimal() and len(length) < 19 else None
    if response.status != 206:
        return 0, whole  # the server knows no ranges, or the file is another one now
    said = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", response.headers.get("Content-Range") or "")
    if said is None:
        return -1, None
    return int(said[1]), None if said[3] == "*" else int(said[3])


def _validator(headers: Any) -> str:
    """What If-Range may hold: a strong entity tag, else the date (RFC 9110, section 13.1.5)."""
    tag = (headers.get("ETag") or "").strip()
    return tag if tag.startswith('"') else (headers.get("Last-Modified") or "").strip()


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_note(part: Path, url: str, validator: str) -> None:
    _note_of(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _read_note(part: Path, url: str) -> str:
    try:
        note = json.loads(_note_of(part).read_bytes())
        return str(note["validator"]) if note["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_network(error: OSError) -> bool:
    # A full disk raises OSError too, and no further try mends it.
    return isinstance(error, urllib.error.URLError | TimeoutError | ConnectionError) or type(error).__module__ == "ssl"


def _is_final(error: Exception, received: bool) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return True  # those worth another try have become _BrokenError
    # Who has no network, or the wrong address, is told at once; whose line broke in the middle is given time.
    return isinstance(error, urllib.error.URLError) and not received


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _pace(received: int, total: int | None, speed: float) -> str:
    text = f"{size_text(int(speed))}/s"
    if not total:
        return text
    minutes, seconds = divmod(round((total - received) / max(speed, 1.0)), 60)
    return f"{received * 100 // total} %, {text}, {f'{minutes} min' if minutes else f'{seconds} s'} left"
