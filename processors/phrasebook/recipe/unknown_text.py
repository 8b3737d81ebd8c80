"""Text that is not in the phrasebook, in English and Russian, for speech the model must answer with nothing.

Four kinds, because each teaches another boundary: prose (any speech at all), everyday sentences (same register, other
words), near misses (a phrasebook template with a word the phrasebook does not have) and shuffles (phrasebook words in
an order that means nothing). No third-party text is kept here: prose is read from where Debian packages put it.
"""

import functools
import gzip
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .sentences import Language, build, words

PROSE: dict[Language, tuple[str, ...]] = {
    "en": ("/usr/share/man/man[1-8]/*.gz", "/usr/share/common-licenses/*"),  # packages manpages, base-files
    "ru": ("/usr/share/man/ru/man[1-8]/*.gz",),  # package manpages-ru
}

_SUBJECTS = {
    "en": """my brother|our teacher|the old farmer|a young doctor|her little sister|the engineer|their dog
that strange man
the whole family|nobody|everyone here|the government|our neighbours|the captain|a famous singer|the computer|your cousin
the children|my grandmother|the scientist|a tall woman|the president|two soldiers|the manager|some students|the machine
a green parrot|this company|the committee|an honest lawyer|the white horse|my boss|the newspaper|the river|a storm""",
    "ru": """мой брат|наш учитель|старый фермер|молодая женщина|её младшая сестра|инженер|их собака
этот странный человек
вся семья|никто|правительство|наши соседи|капитан|известный певец|компьютер|двоюродный брат|бабушка|учёный
высокий мужчина|президент|солдат|начальник|студенты|машина|зелёный попугай|эта компания|комиссия|честный адвокат
белая лошадь|газета|река|гроза|директор завода|соседский мальчик|весь город""",
}
_PREDICATES = {
    "en": """repaired the roof|was reading a thick book|never forgets a face|planted some trees|has sold the old car
will finish the report|built a wooden house|does not believe in ghosts|used to play the violin|is afraid of spiders
explained the problem twice|painted the kitchen yellow|wants to change the rules|found a broken mirror|drives too fast
opened the heavy door|wrote a long letter|lost the second game|is thinking about mathematics
will not answer the question
measured the temperature|cut the rope with a knife|collects stamps and coins|refused to sign the contract
discovered a small island|cannot remember the number|washed every window|has been sleeping since noon|sings in a choir
bought forty kilograms of sugar|laughed for a long while|carried the boxes upstairs|voted against the proposal""",
    "ru": """чинил крышу целую неделю|читает толстую книгу|никогда не забывает лица|сажает деревья за домом
продал старую машину|закончит отчёт к вечеру|построил деревянный дом|не верит в привидения|раньше играл на скрипке
боится пауков и змей|дважды объяснил задачу|покрасил кухню в жёлтый цвет|хочет изменить правила|нашёл разбитое зеркало
ездит слишком быстро|открыл тяжёлую дверь|написал длинное письмо|проиграл вторую партию|думает о математике
не ответит на этот вопрос|измерил температуру воздуха|перерезал верёвку ножом|собирает марки и монеты
отказался подписать договор|открыл маленький остров|не может вспомнить номер|вымыл все окна|спит с самого обеда
поёт в хоре|купил сорок килограммов сахара|долго смеялся|принёс коробки наверх|голосовал против предложения""",
}
_ENDINGS = {
    "en": """|in the garden|yesterday evening|because of the rain|without any reason|before the meeting
on the third floor
during the war|after the concert|for the first time|near the old factory|in spite of everything|once again
and nobody noticed|although it was late|as far as we know|under the bridge of stone|since last winter""",
    "ru": """|в саду|вчера вечером|из-за дождя|без всякой причины|перед собранием|на третьем этаже|во время войны
после концерта|в первый раз|возле старого завода|несмотря ни на что|ещё раз|и никто этого не заметил
хотя было поздно|насколько нам известно|под каменной аркой|с прошлой зимы""",
}
# Fillers for near misses: no word of them is in the phrasebook (checked when a sentence is made).
_FILLERS = {
    "en": """elephant|kitchen|factory|swimming pool|volcano|dentist|barber shop|parliament|garage|laboratory|prison|farm
football stadium|submarine|window|mountain|library card|power plant|embassy|cemetery|a bag of cement|seventeen|forty two
a hundred|Vienna|Budapest|Sydney|Novosibirsk|Helsinki|Australia|Mexico|Egypt|Gregory|Susan|Oliver|in November
next summer
some honey|a cucumber|sausages|a chocolate cake|some mustard|scissors|a hammer|umbrella|blanket|battery|guitar
penguin""",
    "ru": """слон|кухня|завод|бассейн|вулкан|зубной врач|парикмахерская|парламент|гараж|лаборатория|тюрьма|ферма|стадион
подводная лодка|окно|гора|электростанция|посольство|кладбище|мешок цемента|семнадцать|сорок два|сто|Вена|Будапешт|Сидней
Новосибирск|Хельсинки|Австралия|Мексика|Египет|Григорий|Сусанна|Оливер|в ноябре|следующим летом|мёд|огурец|сосиски
шоколадный торт|горчица|ножницы|молоток|зонтик|одеяло|батарейка|гитара|пингвин|лампочка|тетрадь|ковёр""",
}


def _table(text: str) -> list[str]:
    return [entry.strip() for line in text.splitlines() for entry in line.split("|")]


KNOWN = frozenset(words(text) for item in build() for text in (item.en, item.ru))


def is_known(tokens: tuple[str, ...]) -> bool:
    """Tells whether words are one phrasebook sentence or several in a row."""
    starts = {0}
    for end in range(1, len(tokens) + 1):
        if any(tokens[start:end] in KNOWN for start in starts):
            starts.add(end)
    return len(tokens) in starts


def everyday(rng: random.Random, language: Language) -> str:
    """Makes a plain sentence of subject, predicate and ending."""
    parts = [rng.choice(_table(table[language])) for table in (_SUBJECTS, _PREDICATES, _ENDINGS)]
    return " ".join(part for part in parts if part) + rng.choice(".....?")


def near_miss(rng: random.Random, language: Language) -> str:
    """Puts a word the phrasebook does not have into one of its sentences, in place of the last or a middle part."""
    tokens = rng.choice(build()).text(language).rstrip(".?").split()
    filler = rng.choice(_table(_FILLERS[language]))
    if len(tokens) < 3:
        return f"{' '.join(tokens)} {filler}."
    start = rng.randrange(1, len(tokens))
    span = rng.choice((1, 1, 2, len(tokens)))
    return " ".join((*tokens[:start], filler, *tokens[start + span :])) + rng.choice(".?")


def shuffled(rng: random.Random, language: Language) -> str:
    """Mixes the words of one or two phrasebook sentences."""
    sentences = rng.sample(build(), rng.choice((1, 2)))
    tokens = [token.strip(".,?") for sentence in sentences for token in sentence.text(language).split()]
    rng.shuffle(tokens)
    return " ".join(tokens[: rng.randint(2, 10)]) + "."


def _open(path: Path) -> str:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8", "ignore")


def _strip_roff(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.startswith((".", "'")))
    return re.sub(r"\\[-&]|\\f[A-Z]|\\f\([A-Z]{2}|\\\([a-z]{2}|\\", "", " ".join(lines))


@functools.cache
def load_prose(language: Language, patterns: tuple[str, ...] = (), limit: int = 4000) -> list[str]:
    """Reads sentences of ordinary words from text that Debian packages installed.

    Args:
        language: Language to keep.
        patterns: Absolute globs; the defaults are :data:`PROSE`.
        limit: Number of sentences after which to stop.

    Returns:
        Sentences of four words or more in the script of the language; empty if no such package is installed.
    """
    letters = "A-Za-z" if language == "en" else "А-Яа-яЁё"
    sentence = re.compile(rf"[{letters}][{letters},' -]{{20,200}}[.?]")
    found: dict[str, None] = {}
    for pattern in patterns or PROSE[language]:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            if not path.is_file():
                continue
            for match in sentence.findall(_strip_roff(_open(path))):
                text = re.sub(r"\s+", " ", match).strip()
                if len(text.split()) >= 4 and not re.search(r"[A-ZА-Я]{2}", text):
                    found.setdefault(text)
            if len(found) >= limit:
                return list(found)
    return list(found)


def window(rng: random.Random, prose: Sequence[str]) -> str:
    """Cuts three to fourteen words out of a sentence of prose."""
    tokens = rng.choice(prose).rstrip(".?").split()
    length = min(len(tokens), rng.randint(3, 14))
    start = rng.randint(0, len(tokens) - length)
    return " ".join(tokens[start : start + length]) + "."


def generate(rng: random.Random, language: Language, count: int, prose: Sequence[str]) -> list[str]:
    """Makes sentences outside the phrasebook.

    Args:
        rng: Source of chance; the result depends on nothing else.
        language: Language of the text.
        count: Number of sentences.
        prose: Result of :func:`load_prose`; without any, everyday sentences take its share.

    Returns:
        ``count`` different texts, none of which is a phrasebook sentence.
    """
    makers: list[tuple[float, Callable[[], str]]] = [
        (0.40, (lambda: window(rng, prose)) if prose else (lambda: everyday(rng, language))),
        (0.20, lambda: everyday(rng, language)),
        (0.25, lambda: near_miss(rng, language)),
        (0.15, lambda: shuffled(rng, language)),
    ]
    made: dict[str, None] = {}
    while len(made) < count:
        (maker,) = rng.choices([maker for _, maker in makers], [weight for weight, _ in makers])
        text = maker()
        if not is_known(words(text)):
            made.setdefault(text)
    return list(made)
