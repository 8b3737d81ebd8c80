"""Reads the written form of caps; see :mod:`pipelines.caps` for its grammar."""

from __future__ import annotations

import re
from typing import NoReturn

from pipelines.caps import Caps, Structure
from pipelines.caps_values import INTEGER, WORD, FieldValue, IntRange, Scalar

_MEDIA = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9.+-]*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def parse(text: str) -> Caps:
    """Read caps.

    Raises:
        ValueError: If the text is not caps; says at which character.
    """
    return _Parser(text).caps()


class _Parser:
    """Recursive descent over the written form."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def caps(self) -> Caps:
        stripped = self.text.strip()
        if stripped == "ANY":
            return Caps.any()
        if stripped in ("EMPTY", ""):
            return Caps.empty()
        structures = [self.structure()]
        while self.take(";"):
            structures.append(self.structure())
        self.space()
        if self.at != len(self.text):
            self.fail("end of caps")
        return Caps.of(structures)

    def structure(self) -> Structure:
        media = self.match(_MEDIA, "a media type such as audio/raw")
        fields: dict[str, FieldValue] = {}
        while self.take(","):
            name = self.match(_NAME, "a field name")
            if name in fields:
                raise ValueError(f"caps {self.text!r}: field {name!r} appears twice")
            if not self.take("="):
                self.fail("'='")
            fields[name] = self.value()
        return Structure.of(media, fields)

    def value(self) -> FieldValue:
        if self.take("["):
            low = self.integer()
            if not self.take(","):
                self.fail("','")
            high = self.integer()
            if not self.take("]"):
                self.fail("']'")
            if low > high:
                raise ValueError(f"caps {self.text!r}: range [{low}, {high}] is empty")
            return IntRange(low, high)
        if self.take("{"):
            values = [self.scalar()]
            while self.take(","):
                values.append(self.scalar())
            if not self.take("}"):
                self.fail("'}'")
            return frozenset(values)
        return frozenset({self.scalar()})

    def integer(self) -> int:
        return int(self.match(INTEGER, "an integer"))

    def scalar(self) -> Scalar:
        self.space()
        if quoted := _STRING.match(self.text, self.at):
            self.at = quoted.end()
            return re.sub(r"\\(.)", r"\1", quoted.group(1))
        word = self.match(WORD, "a value")
        if word in ("true", "false"):
            return word == "true"
        return int(word) if INTEGER.fullmatch(word) else word

    def match(self, pattern: re.Pattern[str], what: str) -> str:
        self.space()
        found = pattern.match(self.text, self.at)
        if found is None:
            self.fail(what)
        self.at = found.end()
        return found.group()

    def take(self, token: str) -> bool:
        self.space()
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"caps {self.text!r}: expected {what} at character {self.at + 1}")
