"""A WHIP publisher and a WHEP listener made of GStreamer's webrtcbin, for tests; run by an interpreter that has gi.

As in GStreamer's own elements ``whipsink`` and ``whepsrc`` (gst-plugins-rs, which few distributions have), webrtcbin
makes the offer and SDP goes over HTTP. Needs nothing but the standard library, PyGObject and the typelib GstWebRTC.

    python3 gstreamer_whip.py publish URL SECONDS     speech-like ticks, with a video nobody wants
    python3 gstreamer_whip.py listen URL SECONDS      prints the loudest level that was heard, dB
"""

from __future__ import annotations

import sys
import urllib.parse
import urllib.request
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402 -- after their versions

PUBLISH = (
    "webrtcbin name=w bundle-policy=max-bundle "
    "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=96 ! "
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=96 ! w. "
    "videotestsrc is-live=true ! video/x-raw,width=64,height=64,framerate=5/1 ! vp8enc deadline=1 ! rtpvp8pay pt=97 ! "
    "application/x-rtp,media=video,encoding-name=VP8,payload=97 ! w."
)
LISTEN = "pipeline. ( webrtcbin name=w bundle-policy=max-bundle )"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,encoding-params=(string)2,clock-rate=48000,payload=96"
HEAR = "rtpopusdepay ! opusdec ! audioconvert ! level interval=100000000 ! fakesink sync=false async=false"


class Client:
    def __init__(self, mode: str, url: str, seconds: float) -> None:
        self.url, self.resource, self.answered = url, "", False
        self.loudest_db = -200.0
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(PUBLISH if mode == "publish" else LISTEN)
        self.rtc = self.pipeline.get_by_name("w")
        self.rtc.connect("notify::ice-gathering-state", self.gathered)
        self.rtc.connect("pad-added", self.heard)
        if mode == "listen":
            caps = Gst.Caps.from_string(OPUS)
            self.rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)
        self.rtc.connect("on-negotiation-needed", self.negotiate)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.message)
        GLib.timeout_add(int(seconds * 1000), self.loop.quit)
        self.pipeline.set_state(Gst.State.PLAYING)

    def negotiate(self, rtc: Any) -> None:
        if self.answered:
            return
        for number in range(4):
            transceiver = rtc.emit("get-transceiver", number)
            if transceiver is not None and transceiver.get_property("direction").value_nick == "sendrecv":
                transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, rtc))

    def offered(self, promise: Any, rtc: Any) -> None:
        reply = promise.get_reply()  # has the offer, and must outlive it
        rtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, rtc: Any, _: Any) -> None:
        if rtc.get_property("ice-gathering-state").value_nick == "complete" and not self.answered:
            self.answered = True
            GLib.idle_add(self.post)

    def post(self) -> bool:
        offer = self.rtc.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(self.url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- of the test's own server
            self.resource = urllib.parse.urljoin(self.url, answer.headers["Location"])
            _, message = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.rtc.emit("set-remote-description", described, Gst.Promise.new())
        return False

    def heard(self, _: Any, pad: Any) -> None:
        if pad.direction == Gst.PadDirection.SRC:
            ear = Gst.parse_bin_from_description(HEAR, True)
            self.pipeline.add(ear)
            ear.sync_state_with_parent()
            pad.link(ear.get_static_pad("sink"))

    def message(self, _: Any, message: Any) -> None:
        if message.type == Gst.MessageType.ERROR:
            print(message.parse_error(), file=sys.stderr)
            self.loop.quit()
        structure = message.get_structure()
        if structure is not None and structure.get_name() == "level":
            self.loudest_db = max([self.loudest_db, *structure.get_value("peak")])

    def end(self) -> None:
        request = urllib.request.Request(self.resource, method="DELETE")  # noqa: S310 -- see above
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            print("ended", answer.status, flush=True)
        self.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    Gst.init(None)
    client = Client(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    client.loop.run()
    if sys.argv[1] == "listen":
        print(f"loudest {client.loudest_db:.1f}", flush=True)
    client.end()
