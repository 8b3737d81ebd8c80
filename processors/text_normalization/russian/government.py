"""Which case a Russian sentence wants of a number: government by prepositions, comparatives, verbs and nouns before it.

The tables are for linguists to extend. A number's own noun often settles the case by its form ("5 друзьями"); what
stands here decides where it does not: "нет 5 книг" against "купил 5 книг", "до 5 кг", bare numbers. See
docs/adr/0036.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tolmach.processors.text_normalization.common import word_set
from tolmach.processors.text_normalization.russian.morphology import Form, forms, is_part
from tolmach.processors.text_normalization.russian.numerals import Case

Cases = tuple[Case, ...]
"""Cases in order of likelihood."""


def _table(rows: Iterable[tuple[str, Cases]]) -> dict[str, Cases]:
    return {word: cases for words, cases in rows for word in words.split()}


PREPOSITIONS: dict[str, Cases] = _table(
    (
        (
            "без безо близ ввиду вглубь вдоль вместо вне внутри внутрь возле вокруг впереди вроде вследствие для до из "
            "изо из-за из-под касательно кроме мимо накануне наподобие напротив насчет около от ото относительно подле "
            "позади помимо посередине после посреди посредством прежде против путем ради сверх свыше среди сродни у "
            "ниже выше порядка",
            ("g",),
        ),
        ("к ко благодаря согласно вопреки навстречу подобно наперекор соответственно", ("d",)),
        ("через про сквозь спустя", ("a",)),
        ("над надо перед передо между меж", ("i",)),
        ("о об обо при", ("p",)),
        ("в во на", ("a", "p")),
        ("за под подо", ("a", "i")),
        ("по", ("a", "d", "p")),
        ("с со", ("g", "i")),
    )
)
"""Prepositions and their cases; ё is written е here and below."""

COMPARATIVES = word_set(
    "более менее больше меньше старше моложе младше выше ниже дороже дешевле быстрее медленнее длиннее короче "
    "шире уже глубже позднее ранее дальше ближе раньше позже тяжелее легче сильнее чаще реже поболее поменьше побольше"
)
"""Words after which a number stands in the genitive: больше пяти процентов."""

_NOT_COMPARATIVE = word_set("уже")
"""Comparatives that nearly always are another word before a number: уже пять лет."""

TRANSPARENT = word_set(
    "минус плюс примерно приблизительно почти ровно всего лишь только еще уже целых аж минимум максимум даже где- "
    "то буквально ориентировочно чуть едва хотя бы не свои мои твои наши ваши их его ее и ни же как именно вот "
    "сразу целые какие-то каких-то сейчас теперь обычно впервые снова опять"
)
"""Words that may stand between what governs and the number, and change nothing."""

GENITIVE_PHRASES = word_set(
    "течение протяжении продолжение ходе помощью помощи размере количестве пределах районе радиусе возрасте "
    "расстоянии глубине высоте объеме площади исключением участием составе силами числом числа пользу "
    "окрестностях итогам результате честь случае уровне поводу причине случаю пользование доле лице рамках основе "
    "базе сумме"
)
"""Nouns that end a prepositional phrase with a genitive behind it: в течение, на протяжении, в размере, с помощью."""

RELATIONAL_NOUNS = word_set(
    "нехватка приезд визит дефицит избыток уход отъезд вылет прилет набор розыск поиск спуск подъем "
    "список группа команда жизнь судьба история участие союз победа помощь поддержка состав смерть гибель усилие "
    "итог результат мнение стоимость цена сумма доход выручка прибыль объединение половина треть четверть "
    "большинство часть запись выбор набор потеря утрата покупка продажа поставка поимка закупка доставка "
    "перевозка постройка отправка проверка установка выдача раздача уборка посадка аренда столица глава лидер "
    "представитель житель участник автор сторонник жертва владелец хозяин мама мать отец родитель член обладатель "
    "победитель уровень стаж срок возраст арест захват запуск ремонт выпуск показ вывоз ввоз экспорт импорт "
    "расстрел опрос осмотр визит пуск снос обмен анализ союзник правительство сборник собрание коллекция "
    "территория граница площадь экипаж пассажир сотрудник студент ученик семья имя фамилия адрес фотография "
    "портрет изображение название конец начало середина"
)
"""Nouns with a genitive of what is counted behind them: жители пяти деревень, список ста фильмов. Verbal nouns in
-ние, -тие and -ция are known by their ending."""

PROCESSES = word_set(
    "убийство строительство создание производство освобождение похищение уничтожение открытие проведение подготовка "
    "обучение спасение покупка продажа изготовление хищение ограбление гибель задержание закрытие приобретение"
)
"""Verbal nouns with that genitive after any preposition: обвиняется в похищении пяти картин."""

MEASURES = word_set(
    "рубль копейка доллар цент евро гривна фунт иена юань тенге метр километр сантиметр миллиметр грамм килограмм "
    "тонна литр миллилитр гектар процент градус час минута секунда день ночь сутки неделя месяц год век раз вольт "
    "ватт киловатт герц миля верста балл очко пункт штука шаг этаж оборот лье дюйм фут узел кубометр человек "
    "момент мгновение тысяча миллион миллиард триллион байт мегабайт гигабайт мегапиксель калория карат баррель "
    "лошадиный"
)
"""What is counted to measure: "рост 180 сантиметров", "мама 5 раз звонила" leave the number as it is."""

GENITIVE_VERBS = word_set(
    "хватать хватить недоставать недостать лишиться лишаться лишить лишать достичь достигнуть достигать добиться "
    "добиваться бояться опасаться избежать избегать касаться коснуться придерживаться удостоиться удостаиваться "
    "дождаться держаться ожидаться пугаться испугаться остерегаться стоиться слушаться стыдиться жаждать "
    "чуждаться наслушаться наесться напиться недосчитаться досчитаться набраться"
)
"""Verbs with a genitive: не хватает пяти рублей, достигла сорока метров."""

ABSENCE_VERBS = word_set(
    "быть стать остаться оставаться найтись находиться оказаться хватить хватать существовать пройти прожить "
    "проехать набраться набрать проработать прослужить появиться иметь иметься понадобиться потребоваться "
    "требоваться миновать"
)
"""Verbs whose negation puts what is missing into the genitive: не осталось пяти, не прошло и пяти минут."""

ABSENT = word_set("его ее их меня тебя нас вас никого ничего")
"""Who is not there, before "нет" and "не было"."""

DATIVE_WORDS = word_set(
    "равный равняться соответствовать подобный кратный рад радоваться обрадоваться помочь помогать верить "
    "поверить удивиться удивляться принадлежать завидовать учить служить посвятить грозить сочувствовать доверять "
    "подчиняться подчиниться эквивалентный пропорциональный приравнять"
)
"""Verbs and short adjectives with a dative: угол равен девяноста градусам."""

INSTRUMENTAL_VERBS = word_set(
    "владеть завладеть овладеть управлять командовать руководить обладать располагать заниматься заняться "
    "пользоваться воспользоваться ограничиться ограничиваться пожертвовать жертвовать довольствоваться гордиться "
    "рисковать рискнуть обойтись обходиться торговать исчисляться измеряться делиться поделиться заведовать "
    "увлекаться интересоваться восхищаться закончиться завершиться"
)
"""Verbs with an instrumental: владеет двадцатью пятью процентами акций."""

MOVING_VERBS = word_set(
    "вырасти расти снизиться снизить упасть подняться поднять увеличиться увеличить уменьшиться уменьшить сократиться "
    "сократить начать начаться начинаться начинать стартовать подорожать подешеветь опуститься возрасти повысить "
    "повыситься понизить перейти прыгнуть разогнаться"
)
"""Verbs after which "с" says where from: вырос с пяти процентов."""

ACCUSATIVE_VERBS = word_set("стоить весить составить составлять занять занимать длиться продолжаться")
"""Verbs that the dictionary calls intransitive, with a measure in the accusative: весит тысячу тонн."""

EXISTENCE_VERBS = word_set(
    "быть пройти остаться оставаться исполниться миновать потребоваться понадобиться требоваться хватать "
    "собраться найтись набраться прибыть приехать прийти погибнуть появиться существовать иметься стать явиться "
    "участвовать жить родиться проходить лежать сидеть находиться нужный необходимый достаточный"
)
"""Verbs whose subject the number is: прошла тысяча лет."""

_TOKEN = re.compile(r"[а-яёА-ЯЁ]+(?:-[а-яёА-ЯЁ]+)*|\d+(?:[.,]\d+)?|[A-Za-z]+|[^\s]")

WINDOW = 160
"""Characters on either side of a number that are looked at; a clause that governs it is shorter."""


@dataclass(frozen=True, slots=True)
class Government:
    """What stands before a number, as far as it says something of the number's case.

    Attributes:
        cases: In order of likelihood.
        firm: Whether something governs it; else nominative and accusative are only what is left.
        preposition: The preposition, when it is one; "" else.
        noun: The noun right before the number, its forms; () when there is none.
        noun_preposition: The preposition of that noun (в доме 5 комнат); "" when it has none.
        counted_before: Whether that noun is counted itself (на 3 этаже 2 подъезда).
        lasting: A verb without an object, so that a measure says how long or how far: шёл тысячу дней.
        existence: A verb that says that there is so much: осталось одно место.
        absent: Somebody is not there, for as long as a measure says: его нет пять дней.
    """

    cases: Cases
    firm: bool = False
    preposition: str = ""
    noun: tuple[Form, ...] = ()
    noun_preposition: str = ""
    counted_before: bool = False
    lasting: bool = False
    existence: bool = False
    absent: bool = False


def tokens(text: str) -> list[str]:
    """Words, numbers and signs, lower case, ё as е."""
    return [word.lower().replace("ё", "е") for word in _TOKEN.findall(text)]


def clause_before(text: str) -> list[str]:
    """The words before a number, as far back as its clause goes."""
    found = tokens(text[-WINDOW:])
    if len(text) > WINDOW and text[-WINDOW - 1].isalpha():
        found = found[1:]
    for i in range(len(found) - 1, -1, -1):
        # A comma between numbers joins: "5, 6 и 7 классы".
        if found[i] in ".;:!?…–—()" or (found[i] == "," and not (i and found[i - 1][0].isdigit())):
            return found[i + 1 :]
    return found


def government(before: str, after: Sequence[str] = (), *, measured: bool = False) -> Government:
    """What a sentence says of the case of a number.

    Args:
        before: The text before the number.
        after: The words behind it, to the end of the clause.
        measured: Whether a unit without a case of its own follows (5 %, 5 кг).
    """
    clause = clause_before(before)
    return _government(clause, len(clause), after, measured)


def _government(clause: list[str], end: int, after: Sequence[str], measured: bool) -> Government:
    i = end - 1
    while i >= 0:
        word = clause[i]
        before = _number_joined(clause, i)
        if before is not None:
            i = before - 1
            continue
        if word in PREPOSITIONS:
            return Government(_of_preposition(word, clause[:i], after, measured), firm=True, preposition=word)
        if (word in COMPARATIVES or is_part(word, "COMP")) and word not in _NOT_COMPARATIVE:
            return Government(("g",), firm=True)
        if word in ("мало", "достаточно", "недостаточно"):
            return Government(("g",), firm=True)
        if word == "чем":
            return Government(("n", "a"))
        if word in TRANSPARENT:
            i -= 1
            continue
        adjective = _plural_adjective(word)
        if adjective:
            outer = _government(clause, i, after, measured)
            agreed = tuple(case for case in outer.cases if case in adjective)
            return Government(agreed or adjective, firm=True, preposition=outer.preposition)
        if is_part(word, "ADVB") and not is_part(word, "NOUN", at_least=0.2):
            i -= 1
            continue
        break
    return _of_words(clause[: i + 1], after, "и" in clause[i + 1 : end])


def _number_joined(clause: list[str], i: int) -> int | None:
    """Where the number begins that "и", "или" or a dash joins to this one: от 5 или 6, из 2 яблок и 3 груш."""
    if clause[i] not in ("и", "или", "либо", "-", ",") or not i:
        return None
    for j in range(i - 1, max(i - 4, -1), -1):
        if clause[j][0].isdigit():
            return j
        if clause[j] in PREPOSITIONS or is_part(clause[j], "VERB", "INFN"):
            return None
    return None


def _of_preposition(word: str, before: list[str], after: Sequence[str], measured: bool) -> Cases:
    if word in ("с", "со"):
        # "С 5 до 10", "снизился с 5%" tell where from; "с 5 кг картошки" with what; "с 5 метрами" says it itself.
        since = any(other in ("до", "по", "на") for other in after[:4])
        moved = any(form.lemma in MOVING_VERBS for other in before[-2:] for form in forms(other))
        return ("g", "i") if since or moved or not (after or measured) else ("i", "g")
    if word in ("в", "во") and any(other in ("от", "отсюда", "оттуда", "южнее", "севернее") for other in after[:3]):
        return ("p", "a")
    return PREPOSITIONS[word]


def _plural_adjective(word: str) -> Cases:
    """Cases of an adjective or pronoun in the plural before a number: последних пяти лет, этим двум людям."""
    if word == "все":
        return ("n", "a")
    found: list[Case] = []
    for form in forms(word):
        if form.part in ("ADJF", "PRTF") and form.plural and form.case and form.case not in found:
            found.append(form.case)
    if not found or is_part(word, "NOUN", at_least=0.6):
        return ()
    return tuple(found)


def _of_words(clause: list[str], after: Sequence[str], also: bool) -> Government:
    """Government by the nouns and the verb of the clause, nearest first."""
    if not clause:
        return _of_what_follows(after)
    last = clause[-1]
    noun: tuple[Form, ...] = ()
    preposition, counted = "", False
    if is_part(last, "NOUN"):
        noun = tuple(form for form in forms(last) if form.part == "NOUN")
        if len(clause) > 1 and (
            (last in GENITIVE_PHRASES and clause[-2] in PREPOSITIONS) or clause[-2:] == ["во", "главе"]
        ):
            return Government(("g",), firm=True)
        preposition = next((word for word in clause[-3:-1] if word in PREPOSITIONS), "")
        counted = len(clause) > 1 and clause[-2][0].isdigit()
    of_verb = _of_verb(clause, after, also)
    return replace(of_verb, noun=noun, noun_preposition=preposition, counted_before=counted)


def _of_verb(clause: list[str], after: Sequence[str], also: bool) -> Government:
    for i in range(len(clause) - 1, max(len(clause) - 10, -1), -1):
        word = clause[i]
        if word == "нет" or (word in ("было", "будет") and i and clause[i - 1] == "не"):
            return Government(("g",), firm=True, absent=bool(ABSENT.intersection(clause[:i])) and "у" not in clause[:i])
        if word in ("равно", "равен", "равна", "равны"):
            return Government(("d",), firm=True)
        if word in ("должен", "должна", "должны", "должно"):
            return Government(("a", "n"))
        verbs = [f for f in forms(word) if f.part in ("VERB", "INFN", "GRND", "ADJS", "PRTS", "PRTF")]
        if not verbs or not is_part(word, "VERB", "INFN", "GRND", "ADJS", "PRTS", "PRTF", at_least=0.4):
            continue
        lemmas = {form.lemma for form in verbs}
        denied = bool(i) and clause[i - 1] == "не"
        if lemmas & GENITIVE_VERBS or (denied and (also or lemmas & ABSENCE_VERBS)):
            return Government(("g",), firm=True)
        if lemmas & DATIVE_WORDS:
            return Government(("d",), firm=True)
        if lemmas & INSTRUMENTAL_VERBS:
            return Government(("i",), firm=True)
        if verbs[0].part in ("ADJS", "PRTS", "PRTF"):
            return Government(("n", "a"))
        if lemmas & EXISTENCE_VERBS and all("neut" in form.marks for form in verbs):
            return Government(("n", "a"), existence=True)  # прошло тысяча дней
        if lemmas & ACCUSATIVE_VERBS or any("tran" in form.marks for form in verbs):
            return Government(("a", "n"))
        if lemmas & EXISTENCE_VERBS or all("neut" in form.marks for form in verbs):
            return Government(("n", "a"), existence=True)
        return Government(("n", "a"), lasting=True)
    return _of_what_follows(after)


def _of_what_follows(after: Sequence[str]) -> Government:
    """Absence told behind the number: пяти рублей не хватает."""
    for i, word in enumerate(after[:6]):
        if word in ("нет", "мало", "недостаточно") or (
            i and after[i - 1] == "не" and {f.lemma for f in forms(word)} & ABSENCE_VERBS
        ):
            return Government(("g",), firm=True)
    return Government(("n", "a"))
