"""Text analysis of items and queries: normalisation, tokens, n-grams and library-style titles.

Documents and queries pass through the same functions, so the indexes see only clean tokens and
never a user's query syntax. Nothing here fails: lone surrogates, control characters, emoji and
direction marks are dropped, long input is cut.

Tokens are runs of letters, digits and their marks, case-folded and without accents. Scripts that
write no spaces (or attach particles to words, as Korean does) are indexed by bigrams: ``grams``.
A measure is one token in any spelling: ``M8 x 40``, ``m8*40`` and ``M8×40`` are ``m8x40``.

``fold`` makes equal what differs in case, accents, width and spaces only: texts are folded before
anything reads them, text encoders included.

``plain_title`` undoes the word order of library catalogues, which move the article to the end and
the year into brackets, "Matrix, The (1999)": nobody types that, so importers normalise it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

MAX_CHARACTERS = 10_000
MAX_TOKEN = 64
_LAST = "\U0010ffff"
# The words after them are not wanted.
NEGATIONS = frozenset(("without", "not", "no", "non", "sin", "sans", "ohne", "senza", "sem"))
_APOSTROPHES = frozenset("'`\u00b4\u2018\u2019\u201b\u02bc\u02b9\u2032\uff07")
_LETTERS = {
    "\u00e6": "ae",
    "\u0153": "oe",
    "\u00f8": "o",
    "\u0142": "l",
    "\u0111": "d",
    "\u00f0": "d",
    "\u00fe": "th",
    "\u0131": "i",
    "\u0127": "h",
}
# Accents, points and tone marks, which people omit when they type; kept are the vowel signs of
# Indic and Thai and the voicing marks of Kana, which change the word.
_DROPPED_MARKS = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x0591, 0x05C7),
    (0x0610, 0x061A),
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x06D6, 0x06ED),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F),
    (0xE0100, 0xE01EF),
)
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
# A star with a space beside it is no sign of a measure: "61* 2001" is a title and a year.
_TIMES = re.compile(r"([0-9])(?:\s*[x×]\s*|\*)(?=[0-9])")
_TOKEN = re.compile(f"[{_UNSPACED}]+|[^ {_UNSPACED}]+")


class _CharacterMap(dict[int, str | None]):
    def __init__(self, replace: Callable[[str], str | None]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, point: int) -> str | None:
        self[point] = replacement = self._replace(chr(point))
        return replacement


def _fold_character(character: str) -> str | None:
    is_mark = any(low <= ord(character) <= high for low, high in _DROPPED_MARKS)
    if is_mark or unicodedata.category(character) == "Cf":
        return None
    return _LETTERS.get(character, character)


def _drop_sign(character: str) -> str | None:
    if character in _APOSTROPHES:
        return None
    if character == "&":
        return " and "
    return character if unicodedata.category(character)[0] in "LMN" else " "


_FOLDED, _WITHOUT_SIGNS = _CharacterMap(_fold_character), _CharacterMap(_drop_sign)


def fold(text: str) -> str:
    """Fold a text to the form in which it is read; only its first 10,000 characters count.

    Compatibility-folded, case-folded, without accents and invisible characters, its words separated
    by single spaces; its signs stay. Folding twice changes nothing.
    """
    text = text[:MAX_CHARACTERS]
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text).casefold()
        decomposed = unicodedata.normalize("NFKD", decomposed)
        folded = unicodedata.normalize("NFC", decomposed.translate(_FOLDED))
    return " ".join(folded[:MAX_CHARACTERS].split())


def normalise(text: str) -> str:
    """Normalise a text to words separated by single spaces, the form in which titles are compared.

    Only the first 10,000 characters count. Folded, without punctuation; apostrophes join (``don't``
    -> ``dont``), ``&`` becomes ``and``, ``2 x 4`` ``2x4``. Empty without a letter or digit.
    """
    plain = _join_measures(fold(text)).translate(_WITHOUT_SIGNS)
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", plain)
    return " ".join(plain[:MAX_CHARACTERS].split())


def _join_measures(lower: str) -> str:
    has_sign = "x" in lower or "*" in lower or "×" in lower
    return _TIMES.sub(r"\1x", lower) if has_sign else lower


def code_key(text: str) -> str:
    """A code without case and separators, ``SK-M8x40`` -> ``skm8x40``: so codes are compared."""
    return normalise(text).replace(" ", "")


def title_key(text: str) -> str:
    """Normal form of a title; a title of symbols only (``$``, an emoji) keeps its symbols."""
    return normalise(text) or fold(text)


def rows_starting(ordered: Sequence[Any], prefix: str, text: Callable[[Any], str] = str) -> slice:
    """Rows of an ascending column whose text begins with a prefix."""
    begin = bisect_left(ordered, prefix, key=text)
    return slice(begin, bisect_left(ordered, f"{prefix}{_LAST}", begin, key=text))


def tokens(text: str) -> list[str]:
    """Split a text into words; unspaced scripts are split off (``iphone케이스`` -> two words)."""
    return words(normalise(text))


def words(normal: str) -> list[str]:
    """``tokens`` of a normalised text."""
    return [token[:MAX_TOKEN] for token in _TOKEN.findall(normal)]


def grams(normal: str) -> list[str]:
    """Index terms of unspaced scripts: characters and bigrams."""
    terms: list[str] = []
    for run in _RUN.findall(normal):
        terms.extend(run)
        terms.extend(left + right for left, right in pairwise(run))
    return terms


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script without spaces, or with particles, as Korean."""
    return _RUN.match(word) is not None


def query_grams(normal: str) -> list[str]:
    """Query terms of unspaced scripts: bigrams, or the character of a run of one."""
    terms: list[str] = []
    for run in _RUN.findall(normal):
        terms.extend((left + right for left, right in pairwise(run)) if len(run) > 1 else run)
    return terms


_ARTICLES = (
    *("The", "A", "An"),
    *("Le", "La", "Les", "L'", "Un", "Une", "Des"),
    *("Der", "Die", "Das", "Ein", "Eine", "Den", "Det", "De", "Het", "Een", "En", "Ett"),
    *("El", "Los", "Las", "Lo", "Il", "I", "Gli", "Uno", "Una", "O", "Os", "As", "Um", "Uma"),
)
_ARTICLE = "|".join(re.escape(article) for article in sorted(_ARTICLES, key=len, reverse=True))
_MOVED = re.compile(rf"^(?P<rest>.*\S),\s+(?P<article>{_ARTICLE})$", re.IGNORECASE | re.DOTALL)
# Not all articles: "I Spy" and "Die Hard" begin with none.
_LEADING = re.compile(r"^(?:(?:the|an?|les?|der|das|el|il)\s+|l')(?P<rest>\w.*)$", re.I | re.DOTALL)
_YEAR = re.compile(r"^(?P<rest>.*\S)\s*\((?P<year>(?:18|19|20)\d\d)\)$", re.DOTALL)
_ASIDE = re.compile(r"\(([^()]*)\)")


def plain_title(title: str) -> tuple[str, float | None]:
    """Convert a title from library style to plain word order.

    Returns:
        the title as spoken, and the year in trailing brackets or None.
        "Postman, The (Postino, Il) (1994)" -> ("The Postman (Il Postino)", 1994.0)
    """
    rest = title.strip()
    year = None
    if dated := _YEAR.match(rest):
        rest, year = dated["rest"], float(dated["year"])
    asides = _ASIDE.findall(rest)
    head = _ASIDE.sub("", rest).strip()
    if not asides or not rest.endswith(")") or not head:
        return _move_article_to_front(rest), year
    brackets = " ".join(f"({_plain_aside(aside)})" for aside in asides)
    return f"{_move_article_to_front(re.sub(r'  +', ' ', head))} {brackets}", year


def strip_article(title: str) -> str:
    """A title without the article that it begins with: "Few Good Men"; empty if it has none."""
    match = _LEADING.match(title.strip())
    return match["rest"] if match else ""


def looks_like_library_style(titles: Iterable[str]) -> bool:
    """True if at least 5 % of the titles have a moved article or a bracketed year."""
    non_empty = [title.strip() for title in titles if title.strip()]
    num_changed = sum(plain_title(title)[0] != title for title in non_empty)
    return bool(non_empty) and num_changed >= max(1, 0.05 * len(non_empty))


def _plain_aside(text: str) -> str:
    known_as = re.match(r"(a\.k\.a\.\s+)(.*)$", text, re.DOTALL)
    if known_as:
        return known_as[1] + _move_article_to_front(known_as[2])
    return _move_article_to_front(text)


def _move_article_to_front(text: str) -> str:
    moved = _MOVED.match(text.strip())
    if not moved:
        return text.strip()
    gap = "" if moved["article"].endswith("'") else " "
    return f"{moved['article']}{gap}{moved['rest']}"
