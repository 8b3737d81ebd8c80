"""Downloads over loopback, from a server that does what servers and lines do."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tolmach.pipelines.errors import ModelRefusedError
from tolmach.pipelines.models.download import TRIES, DownloadError, Remote, download

CONTENT = bytes(range(256)) * 12_000  # three blocks and a bit
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Server:
    """A server of one file, and what is wrong with it.

    Attributes:
        content: The file.
        tag: Its entity tag.
        breaks: After how many bytes each answer to come breaks off; None for one that does not.
        ranges: Whether it knows range requests.
        lies: What Content-Range says instead of the truth.
        status: Answers to give before any other.
        asked: What came: path, Range and If-Range of each request.
    """

    content: bytes = CONTENT
    tag: str | None = '"one"'
    breaks: list[int | None] = field(default_factory=list)
    ranges: bool = True
    lies: str | None = None
    status: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    on_request: Callable[[], object] = lambda: None
    url: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler, *, body: bool = True) -> None:
        headers = handler.headers
        self.asked.append((handler.path, headers["Range"], headers["If-Range"]))
        self.on_request()
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        begin = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", headers["Range"] or "")
        if wanted and self.ranges and headers["If-Range"] in (None, self.tag):
            begin = int(wanted[1])
            if begin >= len(self.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            true = f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}"
            handler.send_header("Content-Range", self.lies or true)
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content) - begin))
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("X-Linked-Etag", f'"{hashlib.sha256(self.content).hexdigest()}"')
        handler.send_header("X-Linked-Size", str(len(self.content)))
        handler.end_headers()
        if body:
            stop = self.breaks.pop(0) if self.breaks else None
            handler.wfile.write(self.content[begin:] if stop is None else self.content[begin : begin + stop])
            handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def do_HEAD(self) -> None:
            state.answer(self, body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{listening.server_port}/model.bin"
    listening.handle_error = lambda *_: None  # type: ignore[method-assign] # who is refused hangs up
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield state
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "model.bin"


def fetch(server: Server, path: Path, **known: Any) -> list[str]:
    """Download without waiting between tries; gives the progress."""
    lines: list[str] = []
    remote = Remote(server.url, "the model", **{"size_bytes": len(CONTENT), "sha256": DIGEST, **known})
    download(remote, path, lines.append, pause=lambda _: None)
    return lines


def beside(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir() if each.suffix != ".lock"}


def test_a_file_arrives_whole_and_alone(server: Server, path: Path) -> None:
    lines = fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert beside(path) == {"model.bin"}
    assert lines[0] == "downloading the model of 2.9 MiB"


def test_a_line_that_breaks_again_and_again_is_gone_on_with(server: Server, path: Path) -> None:
    server.breaks = [1_000_000, 10, 1_500_000, 0, 7]
    lines = fetch(server, path)
    assert path.read_bytes() == CONTENT
    begins = [int(re.sub(r"\D", "", asked[1] or "0")) for asked in server.asked]
    assert begins == [0, 1_000_000, 1_000_010, 2_500_010, 2_500_010, 2_500_017]
    assert {asked[2] for asked in server.asked[1:]} == {'"one"'}
    assert any("going on with the model at 976.6 KiB of 2.9 MiB" in line for line in lines)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: Server, path: Path) -> None:
    server.breaks = [1_000_000] + [0] * TRIES
    with pytest.raises(DownloadError) as caught:
        fetch(server, path)
    text = str(caught.value)
    assert "976.6 KiB of 2.9 MiB are kept, and the same command goes on from there" in text
    assert f"curl -L -C - -o {path}.part {server.url}" in text
    assert f"{len(CONTENT)} bytes, SHA-256 {DIGEST}" in text
    assert not path.exists()
    server.asked.clear()
    fetch(server, path)
    assert [asked[1:] for asked in server.asked] == [("bytes=1000000-", '"one"')]
    assert path.read_bytes() == CONTENT
    assert beside(path) == {"model.bin"}


def test_what_curl_has_finished_by_hand_is_taken_as_it_is(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("model.bin.part").write_bytes(CONTENT)
    fetch(server, path)  # the server answers 416: there is nothing behind it
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("tag", ['"one"', None], ids=["tagged", "without a tag"])
def test_a_file_that_changed_meanwhile_is_never_half_of_each(server: Server, path: Path, tag: str | None) -> None:
    server.tag, server.breaks = tag, [1_000_000] + [0] * TRIES
    with pytest.raises(DownloadError):
        fetch(server, path)
    other = CONTENT[::-1]
    server.content, server.tag = other, tag and '"two"'
    fetch(server, path, sha256=hashlib.sha256(other).hexdigest())
    assert path.read_bytes() == other


def test_without_tag_and_digest_nothing_is_gone_on_with(server: Server, path: Path) -> None:
    server.tag, server.breaks = None, [1_000_000]
    fetch(server, path, sha256=None, size_bytes=None)
    assert path.read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == [None, None]


@pytest.mark.parametrize(("ranges", "lies"), [(False, None), (True, "bytes 5-9/3072000"), (True, "nonsense")])
def test_a_server_without_honest_ranges_still_gives_the_file(
    server: Server, path: Path, ranges: bool, lies: str | None
) -> None:
    server.ranges, server.lies, server.breaks = ranges, lies, [1_000_000]
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_begins_anew(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("model.bin.part").write_bytes(CONTENT + b"!")
    fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT + b"!", f"it has {len(CONTENT) + 1} bytes instead of {len(CONTENT)}"),
        (CONTENT[::-1], "its SHA-256 is"),
    ],
    ids=["longer", "another"],
)
def test_another_file_than_the_known_one_is_refused_and_goes(
    server: Server, path: Path, content: bytes, said: str
) -> None:
    server.content = content
    with pytest.raises(ModelRefusedError, match=f"is not the file that was expected: {said}"):
        fetch(server, path)
    assert beside(path) == set()


def test_a_file_without_an_end_is_bounded(server: Server, path: Path) -> None:
    with pytest.raises(ModelRefusedError, match=r"is larger than 1\.0 MiB"):
        fetch(server, path, size_bytes=None, sha256=None, max_bytes=1 << 20)
    assert beside(path) == set()


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (404, 1), (403, 1)])
def test_only_a_server_that_may_recover_is_asked_again(server: Server, path: Path, status: int, tries: int) -> None:
    server.status = [status] * 2
    if tries == 1:
        with pytest.raises(DownloadError, match=f"the server answers {status}"):
            fetch(server, path)
    else:
        fetch(server, path)
    assert len(server.asked) == tries


def test_without_a_network_the_answer_comes_at_once(path: Path) -> None:
    waits: list[float] = []
    remote = Remote("http://127.0.0.1:9/model.bin", "the model")
    with pytest.raises(DownloadError, match="refused"):
        download(remote, path, lambda _: None, pause=waits.append)
    assert waits == []
    assert beside(path) == set()


def test_a_disk_without_room_is_told_before_anything_comes(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tolmach.pipelines.models.download.ROOM_LEFT_BYTES", 1 << 60)
    with pytest.raises(DownloadError, match=r"needs 2\.9 MiB more in .*, which has .* free"):
        fetch(server, path)


def test_two_at_once_download_once(server: Server, path: Path) -> None:
    second = threading.Event()
    server.on_request = lambda: second.wait(10)
    lines: list[str] = []

    def other() -> None:
        remote = Remote(server.url, "the model", len(CONTENT), DIGEST)
        download(remote, path, lambda line: (lines.append(line), second.set()))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, server, path)
        while not server.asked:
            pass
        pool.submit(other).result()
        first.result()
    assert len(server.asked) == 1
    assert lines == ["the model: waiting for another download of it"]


# The hub's cache ------------------------------------------------------------------------------------------------------


def tolmach_fetch(server: Server, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url.rpartition("/")[0],
        "HF_HOME": str(tmp_path / "hf"),
        "TOLMACH_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "tolmach", "fetch", "canary_ast", "--set", "model=somebody/tiny"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)


def test_a_hub_model_broken_off_is_gone_on_with_by_the_same_command(server: Server, tmp_path: Path) -> None:
    server.breaks = [1_000_000]
    server.status = []
    done = tolmach_fetch(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on with tiny.nemo at 976.6 KiB of 2.9 MiB" in done.stderr
    assert {asked[0] for asked in server.asked} == {"/somebody/tiny/resolve/main/tiny.nemo"}
    folder = tmp_path / "hf" / "hub" / "models--somebody--tiny"
    assert (folder / "refs" / "main").read_text() == COMMIT
    path = folder / "snapshots" / COMMIT / "tiny.nemo"
    assert path.resolve() == folder / "blobs" / DIGEST
    assert path.read_bytes() == CONTENT
    # The hub's own client finds it there, and so do we, without a network.
    server.asked.clear()
    from huggingface_hub import try_to_load_from_cache

    assert try_to_load_from_cache("somebody/tiny", "tiny.nemo", cache_dir=tmp_path / "hf" / "hub") == str(path)
    again = tolmach_fetch(server, tmp_path)
    assert (again.returncode, server.asked) == (0, [])
    assert "ready, 2.9 MiB" in again.stdout


def test_a_hub_that_gives_another_file_than_it_says_is_not_believed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tolmach.pipelines.models import hub

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    known = hub.HubFile("nvidia/canary-1b-v2", "canary-1b-v2.nemo", len(CONTENT), "0" * 64)
    remote = Remote(server.url, known.filename, known.size_bytes, known.sha256)
    with pytest.raises(ModelRefusedError, match="SHA-256"):
        download(remote, tmp_path / "blob", lambda _: None)
    with pytest.raises(ModelRefusedError, match="instead of 5"):
        download(replace(remote, size_bytes=5), tmp_path / "blob", lambda _: None)


def test_the_published_canary_is_pinned() -> None:
    from tolmach.processors.canary.known import hub_file

    file = hub_file("nvidia/canary-1b-v2")
    assert (file.filename, file.size_bytes) == ("canary-1b-v2.nemo", 6_358_958_080)
    assert file.sha256 == "ae5ef1bf06812a95a1594a8f5f0ee9c51f35418e5ba96939fa6b98ab00431094"


def test_a_cached_file_of_the_wrong_length_is_not_taken_for_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tolmach.pipelines.models import hub

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--a--b" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "b.nemo").write_bytes(b"half")
    assert hub.cached(hub.HubFile("a/b", "b.nemo", 8)) is None
    assert hub.cached(hub.HubFile("a/b", "b.nemo", 4)) == snapshot / "b.nemo"
    assert hub.cached(hub.HubFile("a/c", "c.nemo")) is None
