"""Reaching a cluster, and telling whether its workers are what we are."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.ray_cluster import CPUS, address_of
from tolmach.pipelines import cluster
from tolmach.pipelines.errors import ElementError, GraphError, MediaError


@pytest.mark.parametrize("text", ["", "auto", "local", "10.0.0.7:6379", "head-1.cluster.local:6379", "[fe80::1]:6379"])
def test_addresses(text: str) -> None:
    assert cluster.parse_address(text) == text


@pytest.mark.parametrize("text", ["talks/", "talk.wav", "head", "ray://head:10001", "http://head:8265", "head:"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        cluster.parse_address(text)


def test_without_ray_it_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "from tolmach.pipelines.cluster import connect\n"
        "try: connect('local')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("ClusterError")
    assert "pip install 'tolmach[ray]'" in said


def test_no_cluster_is_told_at_once() -> None:
    pytest.importorskip("ray")
    program = "from tolmach.pipelines.cluster import connect\nconnect('127.0.0.1:9')"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    assert "no Ray cluster at 127.0.0.1:9" in said


def test_a_process_stays_with_its_cluster_and_keeps_its_signals(ray_cluster: Any) -> None:
    assert cluster.connect("10.255.255.1:6379") is ray_cluster
    assert ray_cluster.cluster_resources()["CPU"] == CPUS
    # Ray's own handler would leave with status 15 and without a word.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_versions_that_differ() -> None:
    mine = cluster.here()
    assert cluster.differences(mine, mine) == ([], [])
    theirs = replace(mine, host="node7", exact={**mine.exact, "ray": "2.0"}, digits={**mine.digits, "torch": ""})
    forbids, matters = cluster.differences(mine, theirs)
    assert len(forbids) == len(matters) == 1
    assert "2.0 on node7" in forbids[0]
    assert "missing on node7" in matters[0]


@pytest.mark.parametrize("given", ["", "3"])
def test_a_worker_takes_the_threads_of_its_driver(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    for name, value in cluster.thread_variables().items():
        monkeypatch.setenv(name, value)
    cluster.settle_threads()
    assert os.environ.get("OMP_NUM_THREADS", "") == given


def test_errors_travel() -> None:
    # As pickle makes them again.
    error = ElementError("it broke", element="vad", graph="g", pts_ns=7)
    back = copy.copy(error)
    assert (type(back), str(back), back.element, back.pts_ns) == (ElementError, "it broke", "vad", 7)
    assert copy.copy(MediaError("cut", path="a.wav", at_ns=1)).at_ns == 1
    assert str(copy.copy(GraphError("bad"))) == "bad"


def test_a_signal_is_heard_without_a_word_from_ray(ray_cluster: Any) -> None:
    program = (
        "import os, signal, sys\n"
        "from tolmach.pipelines.cluster import connect\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: print('heard', number))\n"
        "connect(sys.argv[1])\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", program, address_of(ray_cluster)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("heard 15\n", "")
