"""What Prometheus reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tolmach.processors.hosting.figures import HostFigures, Times
from tolmach.transports.webrtc.incoming.receiver import Receiver
from tolmach.transports.webrtc.outgoing.sender import Sender
from tolmach.web import metrics as metrics_module
from tolmach.web.metrics import Metrics, Snapshot

ECHO = Snapshot(
    "echo",
    receiver={"received": 100, "lost": 2, "concealed_samples": 1920, "jitter_ms": 4.0, "depth_ms": 20.0},
    sender={"sent": 98, "underruns": 1, "depth_ms": 40.0},
    round_trip_ms=30.0,
    elements={"vad": {"frames": 50, "busy_s": 0.25, "audio_s": 1.0, "rtf": 0.25, "slowest_ms": 9.0}},
    queues={"wait": {"frames": 3, "ms": 60.0, "dropped": 4}},
    speculations={"ast": {"hit": 7, "miss": 2, "wasted_s": 0.5}},
    voices={"tts": {"spoken": 5, "hurried": 2, "unspoken": 1, "repeated": 4}},
)


def scrape(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Values by name and the values of the labels, in the order of their names."""
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_running_sessions_are_read_at_the_scrape():
    running: list[Snapshot] = []
    metrics = Metrics(lambda: running)
    assert scrape(metrics)["tolmach_sessions",] == 0
    running += [ECHO, replace(ECHO, graph="other", round_trip_ms=90.0)]
    read = scrape(metrics)
    assert read["tolmach_sessions",] == 2
    assert read["tolmach_receiver_received_total",] == 200
    assert read["tolmach_receiver_concealed_samples_total",] == 3840
    assert read["tolmach_sender_underruns_total",] == 2
    assert read["tolmach_element_busy_seconds_total", "vad", "echo"] == 0.25
    assert read["tolmach_element_frames_total", "vad", "other"] == 50
    assert read["tolmach_queue_waiting_seconds", "wait", "echo"] == pytest.approx(0.06)
    assert read["tolmach_queue_waiting_frames", "wait", "echo"] == 3
    assert read["tolmach_queue_dropped_frames_total", "wait", "echo"] == 4
    assert read["tolmach_speculations_total", "ast", "echo", "hit"] == 7
    assert read["tolmach_speculations_total", "ast", "other", "miss"] == 2
    assert read["tolmach_speculations_total", "ast", "echo", "failed"] == 0
    assert read["tolmach_speculation_wasted_seconds_total", "ast", "echo"] == 0.5
    assert ("tolmach_speculation_wasted_seconds_total", "vad", "echo") not in read  # it has none
    assert read["tolmach_round_trip_seconds", "mean"] == pytest.approx(0.06)
    assert read["tolmach_round_trip_seconds", "max"] == pytest.approx(0.09)
    assert read["tolmach_receiver_jitter_seconds", "max"] == pytest.approx(0.004)
    assert read["tolmach_sender_depth_seconds", "mean"] == pytest.approx(0.04)
    assert ("tolmach_receiver_target_seconds", "mean") not in read  # nobody said


def test_the_same_graph_is_one_series_however_many_sessions_it_has():
    metrics = Metrics(lambda: [ECHO] * 5)
    read = scrape(metrics)
    assert read["tolmach_element_frames_total", "vad", "echo"] == 250
    assert sum(name[0] == "tolmach_element_frames_total" for name in read) == 1


def test_counters_do_not_go_down_when_a_session_ends():
    running: list[Snapshot] = [ECHO, ECHO]
    metrics = Metrics(lambda: running)
    before = scrape(metrics)
    metrics.retire(running.pop())
    metrics.session_ended("closed")
    after = scrape(metrics)
    for name, value in before.items():
        if name[0].startswith("tolmach_") and name[0].endswith("_total"):
            assert after[name] == value, name
    assert after["tolmach_sessions",] == 1
    assert after["tolmach_sessions_total", "closed"] == 1
    assert after["tolmach_queue_waiting_frames", "wait", "echo"] == 3  # what waited in the other is gone


def test_a_graph_may_end_before_its_session():
    line = Snapshot("echo", receiver=ECHO.receiver, sender=ECHO.sender, round_trip_ms=30.0)
    metrics = Metrics(lambda: [line], sessions=lambda: 1)
    metrics.retire(Snapshot("echo", elements=ECHO.elements, queues=ECHO.queues))
    read = scrape(metrics)
    assert read["tolmach_sessions",] == 1
    assert read["tolmach_receiver_received_total",] == 100
    assert read["tolmach_element_frames_total", "vad", "echo"] == 50


def test_renaming_graphs_for_ever_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_module, "MAX_LABELS", 10)
    metrics = Metrics(lambda: [ECHO])
    for number in range(50):
        metrics.retire(replace(ECHO, graph=f"graph {number}"))
    read = scrape(metrics)
    series = [name for name in read if name[0] == "tolmach_element_frames_total"]
    assert len(series) <= 11
    assert sum(read[name] for name in series) == 51 * 50
    assert read["tolmach_element_frames_total", "other", "other"] > 0


def test_names_of_graphs_are_escaped():
    hostile = 'a"b\\c\nd'
    read = scrape(Metrics(lambda: [replace(ECHO, graph=hostile)]))
    assert read["tolmach_element_frames_total", "vad", hostile] == 50


def test_rejections_and_retries_are_told_by_reason_and_reasons_are_few():
    figures = Snapshot("g", rejected={"no speech": 2, "longer than 60 s": 1, "whatever": 1}, retries={"empty": 3})
    metrics = Metrics(lambda: [figures])
    metrics.retire(figures)
    read = scrape(metrics)
    assert read["tolmach_rejected_total", "no speech"] == 4
    assert read["tolmach_rejected_total", "other"] == 4
    assert read["tolmach_rejected_total", "repetition"] == 0
    assert read["tolmach_retries_total", "empty"] == 6
    assert read["tolmach_retries_total", "wrong script"] == 0
    assert ("tolmach_rejected_total", "whatever") not in read


def test_what_voices_spoke_hurried_and_left_out_is_counted():
    metrics = Metrics(lambda: [ECHO])
    metrics.retire(ECHO)
    metrics.voice_lag(3.5)
    read = scrape(metrics)
    assert read["tolmach_voice_texts_total", "tts", "echo", "spoken"] == 10
    assert read["tolmach_voice_texts_total", "tts", "echo", "hurried"] == 4
    assert read["tolmach_voice_texts_total", "tts", "echo", "unspoken"] == 2
    assert read["tolmach_voice_repeats_total", "tts", "echo"] == 8
    assert read["tolmach_voice_lag_seconds_bucket", "4.0"] == 1
    assert read["tolmach_voice_lag_seconds_sum",] == 3.5


def test_what_waits_for_a_model_is_told_by_model():
    waits = Times().with_time(0.02).with_time(0.2).with_time(60)
    host = HostFigures("canary a on cpu", 3, 1, 2, waits, Times().with_time(0.5), 0.75, 5)
    read = scrape(Metrics(list, hosts=lambda: [host, replace(host, model="b", waiting=0)]))
    assert read["tolmach_model_waiting", "canary a on cpu"] == 3
    assert read["tolmach_model_waiting", "b"] == 0
    assert read["tolmach_model_under_way", "b"] == 1
    assert read["tolmach_model_dropped_total", "b"] == 2
    assert read["tolmach_model_lost_total", "b"] == 5
    assert read["tolmach_model_busy_seconds_total", "b"] == 0.75
    buckets = [read["tolmach_model_wait_seconds_bucket", bound, "b"] for bound in ("0.01", "0.025", "0.25", "+Inf")]
    assert buckets == [0, 1, 2, 3]
    assert read["tolmach_model_wait_seconds_sum", "b"] == pytest.approx(60.22)
    assert read["tolmach_model_answer_seconds_count", "b"] == 1


def test_latency_and_lag_are_histograms():
    metrics = Metrics(list, loop_lag_s=lambda: 0.125)
    metrics.first_audio(1.1)
    metrics.first_audio(20)
    metrics.first_audio(-2.5)
    metrics.lag(0.004)
    read = scrape(metrics)
    assert read["tolmach_first_audio_seconds_count",] == 3
    assert read["tolmach_first_audio_seconds_bucket", "0.0"] == read["tolmach_first_audio_seconds_bucket", "1.0"] == 1
    assert read["tolmach_first_audio_seconds_bucket", "1.25"] == 2
    assert read["tolmach_loop_lag_seconds_bucket", "0.005"] == 1
    assert read["tolmach_loop_lag_max_seconds",] == 0.125


async def test_what_the_transport_counts_is_shown():
    """Every counter of both ends has a series, and every series a counter."""
    receiver, sender = Receiver().stats(), Sender().stats()
    counters = {f"tolmach_receiver_{name}_total" for name in receiver if not name.endswith("_ms")}
    counters |= {f"tolmach_sender_{name}_total" for name in sender if not name.endswith("_ms")}
    read = scrape(Metrics(lambda: [Snapshot("echo", receiver, sender)]))
    shown = {name[0] for name in read if name[0].startswith(("tolmach_receiver", "tolmach_sender"))}
    assert {name for name in shown if name.endswith("_total")} == counters
    states = {f"tolmach_receiver_{name.removesuffix('_ms')}_seconds" for name in receiver if name.endswith("_ms")}
    states |= {f"tolmach_sender_{name.removesuffix('_ms')}_seconds" for name in sender if name.endswith("_ms")}
    assert {name for name in shown if name.endswith("_seconds")} == states


def test_two_servers_in_one_process_do_not_meet():
    one, other = Metrics(list), Metrics(list)
    one.session_ended("closed")
    assert ("tolmach_sessions_total", "closed") not in scrape(other)
