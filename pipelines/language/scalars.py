"""Plain scalars by the YAML 1.2 core schema: ``no`` is the text "no", ``017`` is seventeen, dates are text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["ScalarValue", "resolve"]

ScalarValue: TypeAlias = bool | int | float | str | None

_CONSTANTS: Mapping[str, ScalarValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}
_INT = re.compile(r"[-+]?[0-9]{1,100}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(text: str) -> ScalarValue:
    """Value of a plain scalar by the core schema (YAML 1.2.2, section 10.3.2).

    Integers of more than 100 digits become floats: Python refuses to write out much longer ones.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
