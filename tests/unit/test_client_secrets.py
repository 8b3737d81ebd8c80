"""Secrets for pages: what they open, and how they end."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tolmach.web.client_secrets import ClientSecrets
from tolmach.web.security import Guard
from tolmach.web.settings import ServerSettings

TOKEN = "a-token-of-a-test"  # noqa: S105
ALLOWED = {"model": "phrasebook", "audio": {"output": {"language": "ru"}}}


def test_any_server_with_the_token_takes_it_until_it_ends() -> None:
    now = [1_000.0]
    value, ends_s = ClientSecrets(TOKEN, clock=lambda: now[0]).make(ALLOWED, 60)
    other = ClientSecrets(TOKEN, clock=lambda: now[0])
    assert value.startswith("ek_")
    assert ends_s == 1_060
    assert other.read(value) == ALLOWED
    now[0] = 1_060
    assert other.read(value) is None


def test_a_server_with_another_token_or_none_does_not() -> None:
    value, _ = ClientSecrets(TOKEN).make(ALLOWED)
    assert ClientSecrets(f"{TOKEN}x").read(value) is None
    assert ClientSecrets(None).read(value) is None
    here = ClientSecrets(None)
    assert here.read(here.make(ALLOWED)[0]) == ALLOWED


def test_two_secrets_for_the_same_differ() -> None:
    here = ClientSecrets(TOKEN)
    assert here.make(ALLOWED)[0] != here.make(ALLOWED)[0]


def test_no_changed_secret_is_taken() -> None:
    here, chance = ClientSecrets(TOKEN), random.Random(3)
    value, _ = here.make(ALLOWED)
    alphabet = "ABCabc019-_=+/ é\0"
    for _ in range(5_000):
        at, letter = chance.randrange(len(value)), chance.choice(alphabet)
        changed = chance.choice([value[:at] + letter + value[at + 1 :], value[:at], value + letter, value[at:]])
        if changed != value:
            assert here.read(changed) is None
    assert here.read("ek_" + "A" * 100_000) is None


@pytest.mark.parametrize(
    ("path", "opens"),
    [
        ("/v1/realtime/translations", True),
        ("/v1/realtime/translations/calls", True),
        ("/v1/realtime/translations/calls/ID/hangup", True),
        ("/v1/realtime/calls/ID/hangup", True),
        ("/v1/realtime/translations/client_secrets", False),
        ("/v1/realtime/translations/client_secrets/", False),
        ("/v1/realtime/translations/", False),
        ("/v1/realtime/callsign", False),
        ("/v1/models", False),
        ("/v1/audio/translations", False),
        ("/api/graphs", False),
        ("/api/sessions", False),
        ("/metrics", False),
    ],
)
async def test_it_opens_its_door_and_no_other(path: str, opens: bool) -> None:
    app = FastAPI()
    app.add_middleware(Guard, settings=ServerSettings(graphs=Path(), token=TOKEN))
    value, _ = ClientSecrets(TOKEN).make(ALLOWED)
    stale, _ = ClientSecrets(TOKEN, clock=lambda: 0.0).make(ALLOWED)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        for shown, inside in ((value, opens), (stale, False), (f"{value}x", False), (TOKEN, True)):
            answer = await http.get(path, headers={"Authorization": f"Bearer {shown}"})
            assert answer.status_code == (404 if inside else 401), (path, shown)
