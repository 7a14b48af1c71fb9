"""Analysis of items and queries into index terms by field, for the built index and posted items.

Three fields: ``title`` (its words), ``body`` (words of all other fields), ``grams`` (characters and
bigrams of both, for scripts without spaces). A fourth, ``generated``, has words and bigrams of
generated texts, if there are any: it has a weight of its own and does not affect the other fields.

Beside each word a field has its stem, so that a query finds other forms of its words, with less
weight than the words themselves.

Codes are searched by any spelling and by their parts: to the body come the parts of measures
(``m8x40`` -> ``m8``, ``40``) and, of an id that has a digit, its words and the whole without
separators. They are found, but are no words that the spelling of others is corrected by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product

from serendip.data.items.catalogue import Attribute, Item
from serendip.data.text import code_key, grams, normalise, query_grams, words
from serendip.search.language import stems
from serendip.search.synonyms import Expansion

FIELDS = ("title", "body", "grams")
GENERATED = "generated"
WORD_FIELDS = ("title", "body", GENERATED)
"""Fields that have words, and their stems."""

MAX_QUERY_TERMS = 32

MAX_CODE = 32
"""Characters of an id whose parts are searched; longer ones are hashes that nobody types."""

_MEASURE = re.compile(r"(?<=[0-9])x(?=[0-9])")
_FILE = re.compile(r"\S+\.(jpe?g|png|webp|gif|svg|wav|flac|ogg|mp3|aiff?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """Terms of one item, in order and with repetitions; their stems are in ``language``."""

    title: list[str]
    body: list[str]
    grams: list[str]
    generated: list[str]
    generated_grams: list[str]
    codes: list[str]
    language: str

    def terms(self, field: str) -> list[str]:
        """Terms of one of ``FIELDS``, or of ``GENERATED``: words, stems, codes and bigrams."""
        terms: list[str] = getattr(self, field)
        if field not in WORD_FIELDS:
            return terms
        others = {"body": self.codes, GENERATED: self.generated_grams}.get(field, [])
        return [*terms, *others, *stems(terms, self.language)]

    @property
    def known(self) -> set[str]:
        """Words, and the stems by which other forms of them are found."""
        found = {*self.title, *self.body, *self.generated}
        return found.union(stems(found, self.language))


def document_of(item: Item, fields: Sequence[str] | None = None, language: str = "") -> Document:
    """Analyse an item of a catalogue in a language, see ``stems.find_language``.

    ``fields`` are those of the body; None = the description and every attribute, except fractional
    numbers (a price is not a word) and paths of image and audio files.
    """
    if fields is None:
        fields = ("description", *(name for name in item.attributes if _is_wordy(item, name)))
    title = normalise(item.title)
    body = " ".join(normalise(_text_of(item, name)) for name in fields)
    generated = normalise(item.generated_text)
    codes = [*_parts_of([*words(title), *words(body)]), *id_terms(item.item_id)]
    return Document(
        words(title),
        words(body),
        grams(f"{title} {body}"),
        words(generated),
        grams(generated),
        codes,
        language,
    )


def id_terms(item_id: str) -> list[str]:
    """Terms by which an id is found in another spelling, or by a part of it.

    None of an id without a digit, and of one that has no other spelling than capitals and small
    letters throughout. Of an id of digits no part is a term: it would be found as a year.
    """
    if len(item_id) > MAX_CODE or not any(map(str.isdigit, item_id)):
        return []
    key = code_key(item_id)
    parts = words(normalise(item_id))
    parts += _parts_of(parts)
    if len(parts) < 2 and item_id in (item_id.upper(), item_id.lower()):
        return []
    return list(dict.fromkeys([key, *(parts if not key.isdigit() else ())]))


def _parts_of(found: Sequence[str]) -> list[str]:
    split = (_MEASURE.split(word) for word in found if "x" in word)
    return [part for parts in split if len(parts) > 1 for part in parts]


def _text_of(item: Item, name: str) -> str:
    """The text of a field; a year also gets its decade: 1995 is found by 1990s and 90s."""
    return " ".join((item.field_text(name), *decades_of(name, item.attributes.get(name))))


def decades_of(name: str, value: Attribute | None) -> tuple[str, ...]:
    """Names of the decade of an attribute that is a year: ``1990s``, ``90s``."""
    if "year" not in name.casefold() or not isinstance(value, float) or not 1000 <= value < 3000:
        return ()
    decade = int(value) // 10 * 10
    return f"{decade}s", f"{decade % 100:02d}s"


def query_terms(text: str, fields: Sequence[str] = FIELDS) -> list[tuple[str, str]]:
    """(field, term) pairs of a query, without duplicates, of at most 32 words."""
    normal = normalise(text)
    query_words = dict.fromkeys(words(normal)[:MAX_QUERY_TERMS])
    word_fields = [name for name in WORD_FIELDS if name in fields]
    gram_fields = [name for name in ("grams", GENERATED) if name in fields]
    pairs = [(field, term) for term in query_words for field in word_fields]
    bigrams = dict.fromkeys(query_grams(normal)[:MAX_QUERY_TERMS])
    pairs += [(field, term) for term in bigrams for field in gram_fields]
    return list(dict.fromkeys(pairs))


def stem_terms(normal: str, language: str, fields: Sequence[str] = FIELDS) -> list[tuple[str, str]]:
    """(field, stem) pairs of a normalised query, without duplicates."""
    distinct = dict.fromkeys(stems(words(normal)[:MAX_QUERY_TERMS], language))
    return [(name, term) for term in distinct for name in WORD_FIELDS if name in fields]


def needed_terms(
    normal: str,
    fields: Sequence[str] = FIELDS,
    language: str = "",
    expansions: Sequence[Expansion] = (),
) -> list[tuple[tuple[str, str], ...]]:
    """The conjunctive query for items that have all words of a normalised text, or synonyms.

    Returns:
        groups of (field, term) pairs; an item matches if it has a pair of each group. A word of a
        script without spaces matches if all its bigrams do, any word if its stem does, and a term
        if all words of one of its synonyms do.
    """
    typed = words(normal)[:MAX_QUERY_TERMS]
    place_of = {expansion.begin: expansion for expansion in expansions}
    groups: list[tuple[tuple[str, str], ...]] = []
    begin = 0
    while begin < len(typed):
        expansion = place_of.get(begin, Expansion(begin, begin + 1, ()))
        forms = [typed[begin : expansion.end], *expansion.also]
        each = [[g for word in form for g in _groups_of(word, fields, language)] for form in forms]
        # "a and b, or c" is "a or c, and b or c".
        choices = islice(product(*each), MAX_QUERY_TERMS)
        groups += [tuple(dict.fromkeys(chain.from_iterable(choice))) for choice in choices]
        begin = expansion.end
    return list(dict.fromkeys(groups))


def _groups_of(
    word: str, fields: Sequence[str], language: str
) -> Iterator[tuple[tuple[str, str], ...]]:
    inside = query_grams(word)
    names = ("grams", GENERATED) if inside else WORD_FIELDS
    forms = stem_terms(word, language, fields)
    for term in inside[:MAX_QUERY_TERMS] or [word]:
        yield (*((name, term) for name in names if name in fields), *forms)


def _is_wordy(item: Item, name: str) -> bool:
    value = item.attributes[name]
    if isinstance(value, float):
        return value.is_integer()
    return not isinstance(value, str) or _FILE.fullmatch(value) is None
