"""Events of OpenAI's realtime translations as a broken client might send them."""

from __future__ import annotations

import json
import random
from typing import Any

FULL = {
    "type": "session.update",
    "event_id": "mine",
    "session": {
        "audio": {
            "input": {
                "transcription": {"model": "gpt-realtime-whisper"},
                "noise_reduction": {"type": "near_field", "strength": 0.5},
                "format": {"type": "audio/pcm", "rate": 24000},
            },
            "output": {"language": "ru"},
        }
    },
}


def mangled(chance: random.Random, text: str) -> str | bytes:
    kind = chance.randrange(6)
    at = chance.randrange(len(text))
    if kind == 0:
        return text[:at] + chance.choice('{}[]",:0-\\u\ud800é\0') + text[at + chance.randrange(3) :]
    if kind == 1:
        return text[:at]
    if kind == 2:
        return text.encode()[at:]
    value = json.loads(text)
    if kind == 5:
        return json.dumps(value)
    place: Any = value
    while isinstance(place, dict) and place:
        name = chance.choice(list(place))
        if not isinstance(place[name], dict) or chance.random() < 0.4:
            odd = [None, True, -1, 1e308, "", "x" * 300, [], {}, {"a": [{}]}, "\ud800", 2**70, "ru"]
            if chance.random() < 0.3:
                place[chance.choice(["zz", "model", "audio", "format", name + "s"])] = chance.choice(odd)
            else:
                place[name] = chance.choice(odd)
            break
        place = place[name]
    return json.dumps(value)
