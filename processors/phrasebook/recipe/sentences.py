"""The closed list of phrasebook sentences and its split into training and held-out sentences.

About 1600 English/Russian pairs: 80 fixed phrases and some 60 templates over the fillers of :mod:`lexicon`. A tenth
of the template sentences is held out of training, so that the model can be judged on sentences it has never heard;
every word of a held-out sentence does occur in a training sentence, because a closed-vocabulary model has no way to
know other words.
"""

import functools
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .lexicon import CITIES, COUNTRIES, DAYS, FIXED, FOOD, HOURS, NAMES, NUMBERS, PARTIES, PLACES

Language = Literal["en", "ru"]
LANGUAGES: tuple[Language, Language] = ("en", "ru")
FIXED_TEMPLATE = "fixed"
SPLIT_SEED = 7
HELD_OUT_SHARE = 0.10

_WORD = re.compile(r"[\w'’-]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One phrasebook entry.

    Attributes:
        en: English text with capital and final punctuation.
        ru: Russian text, likewise.
        template: Name of the template that made it, ``"fixed"`` for a fixed phrase.
    """

    en: str
    ru: str
    template: str

    def text(self, language: Language) -> str:
        """Returns the text in one of the two languages."""
        return self.en if language == "en" else self.ru


def words(text: str) -> tuple[str, ...]:
    """Returns the lower-case words of a text without punctuation; ``o'clock`` and ``по-русски`` are one word each."""
    return tuple(_WORD.findall(text.lower().replace("ё", "е")))


def counted(number: str, few: str, many: str) -> str:
    """Returns the Russian noun form after a numeral: 2-4 take the ``few`` form, the others of the table ``many``."""
    return few if number in ("two", "three", "four") else many


def _places() -> Iterator[tuple[str, str, str]]:
    for en, nom, gen, dat, _ in PLACES:
        yield f"where is the {en}?", f"где находится {nom}?", "where"
        yield f"how do I get to the {en}?", f"как пройти к {dat}?", "getto"
        yield f"is it far to the {en}?", f"далеко ли до {gen}?", "far"
        yield f"turn left at the {en}.", f"у {gen} поверните налево.", "left"
        yield f"turn right at the {en}.", f"у {gen} поверните направо.", "right"
        yield f"meet me near the {en}.", f"встретьте меня около {gen}.", "meet"
        yield f"I am looking for the {en}.", f"я ищу дорогу к {dat}.", "looking"
        yield f"the {en} is closed today.", f"сегодня {nom} не работает.", "closed"
        yield f"when does the {en} open?", f"когда откроется {nom}?", "open"
        yield f"the {en} is near here.", f"{nom} находится рядом.", "near"
        yield f"please show me the way to the {en}.", f"покажите, пожалуйста, дорогу к {dat}.", "show"
        for number, masc, _ in NUMBERS[:6]:
            unit = counted(number, "километра", "километров")
            yield f"it is {number} kilometers to the {en}.", f"до {gen} {masc} {unit}.", "km"


def _food() -> Iterator[tuple[str, str, str]]:
    for one, the, acc, nom in FOOD:
        yield f"I would like {one}, please.", f"я бы хотел {acc}, пожалуйста.", "like"
        yield f"can I have {one}?", f"можно мне {acc}?", "canhave"
        yield f"give me {one}, please.", f"дайте мне, пожалуйста, {acc}.", "give"
        yield f"how much is {the}?", f"сколько стоит {nom}?", "much"
        yield f"do you have {one}?", f"у вас есть {nom}?", "have"
        yield f"where is {the}?", f"где {nom}?", "wherefood"
        yield f"we want to order {one}.", f"мы хотим заказать {acc}.", "order"
    for (one, _, acc, _), (other, _, other_acc, _) in itertools.permutations(FOOD, 2):
        yield f"I would like {one} and {other}.", f"я бы хотел {acc} и {other_acc}.", "like2"


def _travel() -> Iterator[tuple[str, str, str]]:
    for city, acc, gen, prep in CITIES:
        yield f"I live in {city}.", f"я живу в {prep}.", "live"
        yield f"this train goes to {city}.", f"этот поезд идёт в {acc}.", "train"
        yield f"how much is a ticket to {city}?", f"сколько стоит билет до {gen}?", "ticket"
        yield f"I was in {city} last year.", f"я был в {prep} в прошлом году.", "was"
        for day, day_ru in DAYS:
            yield f"I am going to {city} {day}.", f"{day_ru} я еду в {acc}.", "going"
            yield f"we are flying to {city} {day}.", f"{day_ru} мы летим в {acc}.", "flying"
        for number, masc, _ in NUMBERS[:6]:
            unit = counted(number, "билета", "билетов")
            yield f"{number} tickets to {city}, please.", f"{masc} {unit} до {gen}, пожалуйста.", "tickets"
    for country, gen in COUNTRIES:
        yield f"I am from {country}.", f"я из {gen}.", "from"
        yield f"my friend is from {country}.", f"мой друг из {gen}.", "friend"


def _times() -> Iterator[tuple[str, str, str]]:
    for hour, hour_ru in HOURS:
        yield f"it is {hour} o'clock.", f"сейчас {hour_ru}.", "oclock"
        yield f"the bus leaves at {hour} o'clock.", f"автобус отправляется в {hour_ru}.", "bus"
        yield f"the train arrives at {hour} o'clock.", f"поезд прибывает в {hour_ru}.", "arrives"
        yield f"breakfast is at {hour} o'clock.", f"завтрак в {hour_ru}.", "breakfast"
        for day, day_ru in DAYS:
            yield f"let us meet {day} at {hour} o'clock.", f"давайте встретимся {day_ru} в {hour_ru}.", "meetat"
            yield (
                f"I want to book a table {day} at {hour} o'clock.",
                f"я хочу заказать столик {day_ru} на {hour_ru}.",
                "table",
            )


def _people() -> Iterator[tuple[str, str, str]]:
    for name, name_ru in NAMES:
        yield f"my name is {name}.", f"меня зовут {name_ru}.", "name"
        yield f"this is my friend {name}.", f"познакомьтесь, это {name_ru}.", "thisis"
        for country, gen in COUNTRIES:
            yield f"my name is {name} and I am from {country}.", f"меня зовут {name_ru}, я из {gen}.", "namefrom"


def _amounts() -> Iterator[tuple[str, str, str]]:
    for number, masc, fem in NUMBERS:
        nights = fem if number == "two" else masc
        party = PARTIES.get(number, f"{masc} человек")
        unit = counted(number, "ночи", "ночей")
        yield f"I need a room for {number} nights.", f"мне нужен номер на {nights} {unit}.", "room"
        unit = counted(number, "чемодана", "чемоданов")
        yield f"I have {number} suitcases.", f"у меня {masc} {unit}.", "suit"
        unit = counted(number, "доллара", "долларов")
        yield f"it costs {number} dollars.", f"это стоит {masc} {unit}.", "dollars"
        unit = counted(number, "рубля", "рублей")
        yield f"it costs {number} rubles.", f"это стоит {masc} {unit}.", "rubles"
        yield f"a table for {number} people, please.", f"столик на {party}, пожалуйста.", "tablefor"
        unit = counted(number, "дня", "дней")
        yield f"we will stay for {number} days.", f"мы останемся на {masc} {unit}.", "stay"


@functools.cache
def build() -> tuple[Sentence, ...]:
    """Builds the whole list in a fixed order, without repeating an English text.

    Returns:
        Fixed phrases first, then the templates.
    """
    fixed = ((en, ru, FIXED_TEMPLATE) for en, ru in FIXED)
    chains = itertools.chain(fixed, _places(), _food(), _travel(), _times(), _people(), _amounts())
    seen: dict[str, Sentence] = {}
    for en, ru, template in chains:
        sentence = Sentence(en[0].upper() + en[1:], ru[0].upper() + ru[1:], template)
        seen.setdefault(sentence.en, sentence)
    return tuple(seen.values())


def split(seed: int = SPLIT_SEED, share: float = HELD_OUT_SHARE) -> tuple[tuple[Sentence, ...], tuple[Sentence, ...]]:
    """Splits the list into training and held-out sentences.

    A different seed or share makes earlier weights and accuracy figures incomparable: they saw other sentences.

    Args:
        seed: Seed of the shuffle.
        share: Share of the whole list to hold out, 0 to 1; fixed phrases are never held out.

    Returns:
        The training sentences and the held-out ones, each in the order of :func:`build`. Every word of a held-out
        sentence, in both languages, occurs in a training sentence.
    """
    items = build()
    order = [i for i, item in enumerate(items) if item.template != FIXED_TEMPLATE]
    random.Random(seed).shuffle(order)  # noqa: S311 - a reproducible split, not a secret
    held = set(order[: int(share * len(items))])
    known = {word for i, item in enumerate(items) if i not in held for word in words(item.en) + words(item.ru)}
    held = {i for i in held if set(words(items[i].en) + words(items[i].ru)) <= known}
    train = tuple(item for i, item in enumerate(items) if i not in held)
    return train, tuple(items[i] for i in sorted(held))
