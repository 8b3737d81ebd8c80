"""Sentences that are heard in training beside the phrasebook, so that its words are met in more company.

A model that hears every word in a few fixed sentences learns the sentences, not the words: it then answers "It costs
seven dollars" with the ten dollars it knows. The companions put the same fillers into other frames. They are not part
of the phrasebook, none of them is a held-out sentence, and no accuracy is measured on them.
"""

import functools
import itertools
import random
from collections.abc import Callable, Iterator

from .lexicon import CITIES, COUNTRIES, DAYS, FOOD, HOURS, NAMES, NUMBERS, PLACES
from .sentences import Sentence, build, counted

_SEED = 23
_PER_FRAME = 70
_SINGULAR_FOOD = tuple(row for row in FOOD if row[0] != "some potatoes")
Pairs = Iterator[tuple[str, str]]


def _closed() -> Pairs:
    for (en, nom, *_), (day, day_ru) in itertools.product(PLACES, DAYS[1:]):
        yield f"the {en} is closed {day}.", f"{day_ru} {nom} не работает."


def _far() -> Pairs:
    for (en, _, gen, *_), (number, masc, _) in itertools.product(PLACES, NUMBERS[6:]):
        yield f"it is {number} kilometers to the {en}.", f"до {gen} {masc} километров."


def _near() -> Pairs:
    for (one, nom, *_), (other, _, gen, *_) in itertools.permutations(PLACES, 2):
        yield f"the {one} is near the {other}.", f"{nom} находится около {gen}."


def _from_to() -> Pairs:
    for (one, _, gen, *_), (other, _, _, dat, _) in itertools.permutations(PLACES, 2):
        yield f"how do I get from the {one} to the {other}?", f"как пройти от {gen} к {dat}?"


def _price() -> Pairs:
    for (_, the, _, nom), (number, masc, _) in itertools.product(_SINGULAR_FOOD, NUMBERS):
        yield f"{the} costs {number} dollars.", f"{nom} стоит {masc} {counted(number, 'доллара', 'долларов')}."
        yield f"{the} costs {number} rubles.", f"{nom} стоит {masc} {counted(number, 'рубля', 'рублей')}."


def _have() -> Pairs:
    for (one, _, _, nom), (other, _, _, other_nom) in itertools.permutations(FOOD, 2):
        yield f"do you have {one} and {other}?", f"у вас есть {nom} и {other_nom}?"


def _give() -> Pairs:
    for (one, _, acc, _), (other, _, other_acc, _) in itertools.permutations(FOOD, 2):
        yield f"give me {one} and {other}, please.", f"дайте мне, пожалуйста, {acc} и {other_acc}."


def _this() -> Pairs:
    for _, the, _, nom in _SINGULAR_FOOD:
        yield f"is this {the}?", f"это {nom}?"
        yield f"I do not like {the}.", f"мне не нравится {nom}."


def _tickets() -> Pairs:
    for (city, _, gen, _), (number, masc, _) in itertools.product(CITIES, NUMBERS):
        yield (
            f"I need {number} tickets to {city}.",
            f"мне нужно {masc} {counted(number, 'билета', 'билетов')} до {gen}.",
        )


def _departures() -> Pairs:
    for (city, acc, *_), (hour, hour_ru) in itertools.product(CITIES, HOURS):
        yield f"the bus to {city} leaves at {hour} o'clock.", f"автобус в {acc} отправляется в {hour_ru}."


def _arrivals() -> Pairs:
    for (day, day_ru), (hour, hour_ru) in itertools.product(DAYS, HOURS):
        yield f"the train arrives {day} at {hour} o'clock.", f"поезд прибывает {day_ru} в {hour_ru}."


def _people() -> Pairs:
    for (name, name_ru), (country, gen) in itertools.product(NAMES, COUNTRIES):
        yield f"{name} is from {country}.", f"{name_ru} из {gen}."
        yield f"this is {name} from {country}.", f"познакомьтесь, это {name_ru} из {gen}."


_FRAMES: tuple[Callable[[], Pairs], ...] = (
    *(_closed, _far, _near, _from_to, _price, _have, _give, _this, _tickets, _departures, _arrivals, _people),
)


@functools.cache
def companions() -> tuple[Sentence, ...]:
    """Draws some sentences from every frame.

    Returns:
        At most 70 sentences a frame, in a fixed order, none of them a phrasebook sentence in either language.
    """
    taken = {text for item in build() for text in (item.en, item.ru)}
    drawn = []
    for frame in _FRAMES:
        pairs = [(en[0].upper() + en[1:], ru[0].upper() + ru[1:]) for en, ru in frame()]
        fresh = [pair for pair in pairs if not taken & set(pair)]
        rng = random.Random(f"{_SEED}{frame.__name__}")  # noqa: S311 - a reproducible draw, not a secret
        name = f"companion{frame.__name__}"
        drawn += [Sentence(en, ru, name) for en, ru in rng.sample(fresh, min(_PER_FRAME, len(fresh)))]
    return tuple(drawn)
