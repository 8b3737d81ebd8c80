"""Signs in Russian text and what they are read as, alone and inside addresses."""

from __future__ import annotations

import re

from tolmach.processors.text_normalization.common import Rule
from tolmach.processors.text_normalization.russian_units import CURRENCIES

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

SIGN_RULES: tuple[Rule, ...] = (
    (re.compile("[" + "".join(map(re.escape, SIGNS)) + "]"), lambda m: f" {SIGNS[m.group()]} "),
)
"""Signs that no rule of numbers has read."""
