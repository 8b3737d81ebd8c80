"""The proxies that docker/ ships examples for, run for real in front of servers of this machine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVERS = {"tolmach-0": "127.0.0.2", "tolmach-1": "127.0.0.3"}
"""Named as pods are; at addresses of their own, so that all may have one port, as pods have."""

NGINX = """\
daemon off;
pid {here}/pid;
error_log {here}/log warn;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {here}/1;
    proxy_temp_path {here}/2;
    fastcgi_temp_path {here}/3;
    uwsgi_temp_path {here}/4;
    scgi_temp_path {here}/5;
    include {here}/site.conf;
}}
"""


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port nobody has now."""
    with socket.socket() as found:
        found.bind((address, 0))
        port: int = found.getsockname()[1]
    return port


def _lettered() -> list[tuple[str, tuple[str, str]]]:
    """What the shipped files call them, and what they are called here."""
    return list(zip("ab", SERVERS.items(), strict=True))


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these in it put in the other's place; all must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(site: str, here: Path) -> Iterator[None]:
    """nginx with a file for its block ``http``."""
    (here / "site.conf").write_text(site)
    (here / "nginx.conf").write_text(NGINX.format(here=here))
    with _running(["nginx", "-p", str(here), "-c", str(here / "nginx.conf")], here):
        yield


@contextmanager
def nginx_with_names(port: int, listen: int, here: Path, other: Mapping[str, str] | None = None) -> Iterator[None]:
    """nginx as in docker/many/nginx.conf, in front of :data:`SERVERS`; with other texts in place of some."""
    shipped = (ROOT / "docker" / "many" / "nginx.conf").read_text()
    changes = {f"server {letter}:8000": f"server {address}:{port}" for letter, (_, address) in _lettered()}
    changes |= {f"    {letter}       tolmach_": f"    {name} tolmach_" for letter, (name, _) in _lettered()}
    with nginx(replaced(shipped, {**changes, **(other or {}), "listen 8080": f"listen 127.0.0.1:{listen}"}), here):
        yield


@contextmanager
def caddy(port: int, listen: int, here: Path) -> Iterator[None]:
    """Caddy as in docker/many/Caddyfile, in front of :data:`SERVERS`; it looks for places more often."""
    shipped = (ROOT / "docker" / "many" / "Caddyfile").read_text()
    changes = {f"\t\t{letter} {letter}:": f"\t\t{name} {letter}:" for letter, (name, _) in _lettered()}
    changes |= {f" {letter}:8000": f" {address}:{port}" for letter, (_, address) in _lettered()}
    changes |= {"\n:8080 {": f"\nhttp://127.0.0.1:{listen} {{", "health_interval 2s": "health_interval 100ms"}
    own = "{\n\tadmin off\n\tauto_https off\n}\n"
    (here / "Caddyfile").write_text(own + replaced(shipped, changes))
    command = ["caddy", "run", "--config", str(here / "Caddyfile"), "--adapter", "caddyfile"]
    with _running(command, here):
        yield


def _own_folders(here: Path) -> dict[str, str]:
    """Caddy keeps its last configuration and its certificates there."""
    return {"XDG_CONFIG_HOME": str(here), "XDG_DATA_HOME": str(here)}


@contextmanager
def _running(command: list[str], here: Path) -> Iterator[None]:
    with (here / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **_own_folders(here)})
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


class Names(asyncio.DatagramProtocol):
    """A name server that knows the pods of a StatefulSet, as a cluster's does (RFC 1035; A records alone).

    Args:
        ready: The addresses in which sessions may begin.
    """

    def __init__(self, ready: Callable[[], list[str]]) -> None:
        self._ready = ready
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question, name = data[12 : at + 5], ".".join(labels)
        pods = {f"{pod}.tolmach.tolmach.svc.cluster.local": [address] for pod, address in SERVERS.items()}
        found = {**pods, "tolmach-ready.tolmach.svc.cluster.local": self._ready()}.get(name, [])
        head = (
            data[:2] + (b"\x84\x00" if found else b"\x84\x03") + b"\x00\x01" + len(found).to_bytes(2, "big") + bytes(4)
        )
        answers = [b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04" + socket.inet_aton(each) for each in found]
        assert self._transport is not None
        self._transport.sendto(head + question + b"".join(answers), addr)


@asynccontextmanager
async def nginx_of_the_cluster(port: int, listen: int, here: Path) -> AsyncIterator[None]:
    """nginx as in docker/kubernetes, whose servers are found by name."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Names(lambda: list(SERVERS.values())), local_addr=("127.0.0.1", 0)
    )
    names = transport.get_extra_info("sockname")[1]
    shipped = (ROOT / "docker" / "kubernetes" / "nginx.conf").read_text()
    changes = {
        "kube-dns.kube-system.svc.cluster.local": f"127.0.0.1:{names}",
        ":8000": f":{port}",
        "listen 8080": f"listen 127.0.0.1:{listen}",
    }
    try:
        with nginx(replaced(shipped, changes), here):
            yield
    finally:
        transport.close()
