"""Signs in Russian text and what they are read as, alone and inside addresses."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Rule
from tolmach.processors.text_normalization.russian.units import CURRENCIES

SIGNS = {
    "№": "номер", "§": "параграф", "&": "и", "@": "собака", "#": "решётка", "%": "процентов", "+": "плюс",
    "=": "равно", "<": "меньше", ">": "больше", "~": "примерно", "≈": "примерно", "±": "плюс минус", "×": "на",
    "÷": "разделить на", "√": "корень из", "∞": "бесконечность", "°": "градусов", "℃": "градусов цельсия",
    "℉": "градусов фаренгейта", "²": "в квадрате", "³": "в кубе", "½": "одна вторая", "¼": "одна четвёртая",
    "¾": "три четверти", "⅓": "одна треть", "⅔": "две трети", "≤": "не больше", "≥": "не меньше", "≠": "не равно",
    "→": "–", "‰": "промилле", "^": "в степени", "¢": "центов",
}  # fmt: skip
SIGNS |= {sign: unit.many for sign, unit in CURRENCIES.items()}

ADDRESS_SIGNS = {
    ".": "точка", "@": "собака", "/": "слэш", ":": "двоеточие", "-": "дефис", "_": "подчёркивание", "?": "вопрос",
    "=": "равно", "&": "и", "#": "решётка", "%": "процент", "+": "плюс", "~": "тильда",
}  # fmt: skip


def _words_of(tag: str) -> str:
    """The words of a tag: НовыйГод, new_year."""
    return re.sub(r"(?<=[a-zа-яё])(?=[A-ZА-ЯЁ])", " ", tag.replace("_", " "))


ADDRESS_RULES: tuple[Rule, ...] = (
    (re.compile(r"\bhttps?://(?=\w)", re.IGNORECASE), ""),
    (re.compile(r"(?<![\w.@-])www\.(?=\w)", re.IGNORECASE), "три дабл-ю точка "),
    (re.compile(r"(?<![\w&#/])#(?=\w*[^\W\d])(\w{1,64})"), lambda m: f"хэштег {_words_of(m[1])}"),
    (re.compile(r"(?<![\w.@-])@(?=[^\W\d])(\w{1,64})"), lambda m: f"собака {_words_of(m[1])}"),
)
"""What goes before addresses are read: nobody says "эйч-ти-ти-пи"; tags and names of people on the net."""

SIGN_RULES: tuple[Rule, ...] = (
    (re.compile("[" + "".join(map(re.escape, SIGNS)) + "]"), lambda m: f" {SIGNS[m.group()]} "),
)
"""Signs that no rule of numbers has read."""
