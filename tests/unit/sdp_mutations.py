"""Seeded mutations of SDP: what a broken or hostile client may write instead of an offer or a fragment."""

from __future__ import annotations

import random

_JUNK = (
    *(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    ),
    *(
        "a=mid:0",
        "a=mid:\u200b",
        "a=group:BUNDLE 0 1 2",
        "a=group:BUNDLE",
        "a=ice-lite",
        "a=end-of-candidates",
        "a=inactive",
    ),
    *("a=candidate:1 1 udp 1 ::1%eth0 9 typ host", "a=candidate:", "a=ice-ufrag:", "a=ice-pwd:" + "x" * 300),
    *(
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:0 PCMU/8000",
        "a=fmtp:111 x",
        "a=extmap:1 x",
        "a=ssrc:1 cname:x",
        "a=rtcp-fb:* x",
    ),
    *(
        "a=sctp-port:99999",
        "a=setup:holdconn",
        "a=fingerprint:sha-256 00",
        "a=msid:- -",
        "a=simulcast:send h",
        "a=rid:h send",
    ),
    *(
        "",
        "=",
        "a",
        "a=",
        "x=1",
        "\0",
        "m=",
        "m=audio",
        "v=0",
        "a=rtcp-mux",
        "t=0 0",
        "c=IN IP4",
        "b=AS:-1",
        "o=- 1 1 IN",
    ),
)
_ODD = ("", "0", "-1", "65536", "99999999999999999999", "\0", "\u2028", "é", "%s", "a" * 400, "*", "/", " ", "\ud800")


def mutated(rng: random.Random, text: str) -> str:
    """The text with one to four changes: lines lost, doubled, moved, made up, or other words in them."""
    lines = text.split("\r\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif kind == 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3:
            lines.insert(at, rng.choice(_JUNK))
        elif kind == 4:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice(_ODD)
            lines[at] = " ".join(words)
        elif kind == 5:
            cut = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + rng.choice(_ODD) + lines[at][cut + 1 :]
        else:
            lines = lines[: at + 1]
    return "\r\n".join(lines)
