"""Reads a text as an exact title, a misspelt title, values, or words, and tells what it asks for.

A correction is searched right away only if its confidence is high; with less confidence it is
suggested ("did you mean") and the text is searched as typed. For an unknown word the best
correction is suggested too, even if the word as typed is likelier. A lower threshold applies to
what would find nothing as typed: a string that is no word, beside nothing that speaks against the
correction, and a text of which function words alone are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from serendip.data import MISSING, NO_ITEMS, IntArray, fold, normalise, title_key, words
from serendip.search.documents import MAX_QUERY_TERMS
from serendip.search.language import is_function_word
from serendip.search.lexical import LexicalIndex
from serendip.search.names import MOST_WORDS, ValueTable
from serendip.search.sentences import find_wished, is_spoken, without_speech
from serendip.search.spelling import ENGLISH, Correction, Speller, english_word_frequencies
from serendip.search.synonyms import Synonyms
from serendip.search.titles import TitleIndex
from serendip.search.understanding import (
    FRESH,
    GENERIC,
    KINDS,
    Content,
    Interpretation,
    asks_for_all,
    find_wish,
    other_forms,
    without_genitive,
    without_kind,
)

MAX_NEAR_TITLES = 3
TITLE_CONFIDENCE = 0.9
"""Confidence of a whole title of several words, one or two edits from an implausible text."""

_FEWEST_SIGNS = 5
"""Of the beginning of a title that is asked for: "like star wars"."""

_FEWEST_OF_NAME = 8
"""Signs of a name of several words in which slips are looked for."""

_FEW_TITLES = 3
"""Titles with a word from which on it is one of titles."""

_MOST_CODED = 8
"""Items with a code of which the one is searched that has it as its id, or a number that their
titles begin with."""


_CORRECT_FROM = 0.9
"""Confidence from which the correction of a misspelt text is searched; below it, it is told."""

_CORRECT_UNKNOWN_FROM = 0.33
"""The same of a string that is no word of an item or of the language, unless a word beside it
speaks against the correction, and if no item has any of the words but function words: as typed it
would find nothing."""

_SUGGEST_FROM = 0.1
"""Confidence from which a correction is told ("did you mean")."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryReader:
    """Reads texts by the titles, values and words of a catalogue.

    Args:
        lexical: the lexical index.
        titles: of the items.
        speller: corrects words.
        values: of attributes.
        synonyms: of which one may be a value where a term is none.
        grammar: function words of the catalogue's languages.
    """

    lexical: LexicalIndex
    titles: TitleIndex
    speller: Speller
    values: ValueTable
    synonyms: Synonyms
    grammar: frozenset[str]

    def read(self, text: str) -> Interpretation:
        """Interpret a text as an exact title, else as a near title or value, else word by word.

        Whole titles and values of several words are compared even if every word is known, because a
        typo often makes another word (``Star Warts``), unless the words occur next to each other in
        the catalogue, as in ``Las Vegas``. A single known word is not corrected: ``horse`` does not
        mean ``House``.
        """
        return self._with_content(self._interpret(text))

    def read_literally(self, text: str) -> Interpretation:
        """Interpret a text as typed, without corrections and synonyms."""
        speller = replace(self.speller, expanded=frozenset())
        return self._with_content(self._as_typed(text, speller))

    def find_code(self, key: str) -> IntArray:
        """Numbers of a few items that have a code, without its separators, as a word or id."""
        return self.lexical.having_all(key, _MOST_CODED)

    def find_liked(self, text: str) -> int:
        """Number of the item that a text asks for others like, "movies like Heat"; -1 = of none."""
        title, titles = find_wish(text, self.grammar), self.titles
        if len(titles.exact(fold(text).strip())):
            return MISSING
        liked = self._find_titled(title)
        if not liked and (title or self._is_sentence(text)):
            liked = titles.bearers(find_wished(text, titles.__contains__))
        return int(liked[0]) if liked else MISSING

    def _find_titled(self, title: str) -> list[int]:
        found: list[int] = self.titles.exact(title).tolist() if title else []
        if not found and len(key := title_key(title)) >= _FEWEST_SIGNS:
            found = self.titles.completions(key, 1) or self.read(title).corrected.tolist()
        return found

    def find_asked(self, text: str) -> str:
        """What a sentence asks for, "hi, do you know a funny movie?"; another text as it is."""
        if not self._is_sentence(text):
            return text
        asked = without_speech(text, lambda name: self._is_value(name) or name in self.titles)
        return asked or text

    def _is_sentence(self, text: str) -> bool:
        """Whether a text is said to somebody, and is not a title, misspelt perhaps, nor begins one
        or stands within one.
        """
        if not is_spoken(text):
            return False
        normal, titles = normalise(text), self.titles
        if titles.completions(normal, 1) or any(" " in key for key in titles.nearest(normal)):
            return False
        items = self.lexical.having_all(normal, _MOST_CODED).tolist()
        said = words(normal)
        return not any(set(words(titles.key(item))).issuperset(said) for item in items)

    def named_items(self, reading: Interpretation) -> IntArray:
        """Items whose title a text is, corrected or not, best first; none if it rather is a word.

        That is if it names a value, but for a title of several words, which is one, too, or if more
        items have the word, or its rarest pair of words, than people chose the item: "heist" asks
        for more than the film of this title.
        """
        key, values = reading.corrected_key, reading.content.values
        titled = reading.exact if len(reading.exact) else reading.corrected
        if not len(titled) or (values and not (" " in key and values == (key,))):
            return NO_ITEMS
        typed, speller = words(key), self.speller
        counts = [speller.pairs.count(*pair) for pair in pairwise(typed)]
        rarest = min(counts or [speller.counts.get(word, 0) for word in typed])
        return titled if self.titles.popularity_of(int(titled[0])) > rarest else NO_ITEMS

    def _as_typed(self, text: str, speller: Speller) -> Interpretation:
        key = title_key(text)
        typed = dict.fromkeys(words(normalise(text)))
        unknown = tuple(word for word in typed if not speller.knows(word))
        return Interpretation(key, self.titles.exact(text), key, NO_ITEMS, "", unknown)

    def _interpret(self, text: str) -> Interpretation:
        """See ``read``; without the content."""
        titles, speller = self.titles, self.speller
        as_typed, normal = self._as_typed(text, speller), normalise(text)
        if not len(as_typed.exact) and (named := without_kind(normal, speller.stemmed or ENGLISH)):
            title = self._interpret(named)
            if len(title.exact) or len(title.corrected):
                return title
        said = [
            word
            for word in words(normal)
            if word not in GENERIC and not is_function_word(word, speller.stemmed)
        ]
        if len(as_typed.exact) or not said or speller.is_plausible(normal):
            return as_typed
        near = self._near_names(normal) if normal.isascii() else []
        meant = Correction(near[0], TITLE_CONFIDENCE) if near else self._correct(normal)
        finds_nothing = set(said) <= set(as_typed.unknown)
        is_likely = meant.rival_confidence >= _CORRECT_UNKNOWN_FROM
        if finds_nothing and is_likely and meant.text == normal and " " in normal:
            meant = Correction(meant.rival, meant.rival_confidence, True)
        if meant.text == normal:
            is_suggested = meant.rival_confidence >= _SUGGEST_FROM
            return replace(as_typed, told_key=meant.rival) if is_suggested else as_typed
        if meant.confidence < _SUGGEST_FROM:
            return as_typed
        # One word that could be meant, beside one that is nothing, is no more than chance.
        unsaid = set(words(normal)).difference(said)
        is_known = all(map(speller.knows, set(words(meant.text)) - unsaid))
        risks_little = is_known if finds_nothing else meant.risks_little
        least = _CORRECT_UNKNOWN_FROM if risks_little else _CORRECT_FROM
        if meant.confidence < least:
            return replace(as_typed, told_key=meant.text)
        items = [
            item
            for key in near[:MAX_NEAR_TITLES] or [meant.text]
            for item in self._nearest_first(titles.bearers(key), text)
        ]
        return Interpretation(as_typed.key, NO_ITEMS, meant.text, np.array(items, np.int32))

    def _near_names(self, normal: str) -> list[str]:
        """The title that a text is without spaces, else titles, or a value, of several words."""
        joined = normal.replace(" ", "")
        if joined in self.titles:
            return [joined]
        near = [key for key in self.titles.nearest(normal) if " " in key]
        if not near and len(normal) >= _FEWEST_OF_NAME and " " in normal:
            near = [name for name in [self.values.nearest(normal)] if " " in name]
        return near

    def _correct(self, normal: str) -> Correction:
        """Correct word by word; a prefix of a title is unfinished, not wrong: it may only grow."""
        meant = self.speller.correct(normal)
        likeliest = meant.text if meant.text != normal else meant.rival
        if not likeliest.startswith(normal) and self.titles.completions(normal, 1):
            return Correction(normal, 1.0)
        return meant

    def _nearest_first(self, items: Sequence[int], text: str) -> list[int]:
        """Items of one title by edit distance of their spelling to a text."""
        from rapidfuzz.distance import OSA

        titles = self.titles

        def distance(item: int) -> tuple[int, float, int]:
            edits = OSA.distance(fold(text), fold(titles.title(item)))
            return edits, -titles.popularity_of(item), item

        return sorted(items, key=distance)

    def _with_content(self, reading: Interpretation) -> Interpretation:
        titles, content = self.titles, self._find_content(reading.corrected_key)
        key, needed, exact = reading.corrected_key, words(content.needed), reading.exact
        if " " not in key and content.values:  # "war" is a genre before it is "The War"
            size = max(map(self.values.size, content.values))
            led = (titles.key(n) == key or titles.popularity_of(n) > size for n in exact.tolist())
            exact = exact[np.fromiter(led, np.bool_, len(exact))]
        corrected = reading.corrected
        if key.isdigit() and not len(exact):  # "2001" is A Space Odyssey before it is a year
            begun = titles.completions(key, _MOST_CODED)
            begun = [item for item in begun if titles.key(item).startswith(f"{key} ")]
            corrected = np.array(begun, np.int32)
        is_cut = content.is_whole and needed[-1:] != words(key)[-1:]
        if is_cut and titles.completions(key, 1):  # "good will" is the beginning of a title
            content = replace(content, is_whole=False, is_newest=False, text=key, needed=key)
        unknown = tuple(w for w in reading.unknown if w in needed and not self._is_code(w))
        english = english_word_frequencies()
        means = {word for word in content.words if word not in unknown or word in english}
        if content.values and not means:  # "horror 1899" asks for what there is of it
            content = replace(content, words=())
        if unknown == tuple(needed) and not content.values:
            content = replace(content, text=content.needed)  # "movie" alone asks for nothing
        return replace(reading, exact=exact, corrected=corrected, unknown=unknown, content=content)

    def _is_code(self, word: str) -> bool:
        return any(map(str.isdigit, word)) and len(self.find_code(word)) > 0

    def _find_content(self, key: str) -> Content:
        """What a text asks for: the values that it names, the longest first, and the rest."""
        grammar, counts = self.grammar, self.speller.counts
        typed = key.split(" ")[:MAX_QUERY_TERMS]
        named: list[str] = []
        others: list[str] = []
        begin = 0
        while begin < len(typed):
            ends = range(min(begin + MOST_WORDS, len(typed)), begin, -1)
            found = ((end, self._find_values(" ".join(typed[begin:end]))) for end in ends)
            end, read = next(((end, read) for end, read in found if read), (0, ()))
            if end:
                named += read
                typed[begin:end] = without_genitive(typed[begin:end], read)
            else:
                others += words(typed[begin])
            begin = end or begin + 1
        rest = [word for word in others if word not in grammar]
        is_whole = asks_for_all(others, rest)
        specific = tuple(word for word in rest if word not in GENERIC and not is_whole)
        is_newest = is_whole and not FRESH.isdisjoint(others)
        all_words = words(" ".join(typed))
        said = [word for word in all_words if word not in grammar] or all_words
        said = [word for word in said if word not in KINDS] or said
        needed = [word for word in said if word not in GENERIC] or said
        is_language = any(word in counts or word in english_word_frequencies() for word in needed)
        texts = " ".join(said), " ".join(needed)
        return Content(tuple(named), specific, *texts, is_language, is_whole, is_newest)

    def _is_value(self, name: str) -> bool:
        """Whether a name is a value; a single word if most of the items with it have it as one:
        "hitchcock" is a person, "king" a word.
        """
        if " " in name:
            return not self.grammar.issuperset(name.split(" ")) and self.values.size(name) > 0
        num_items = self.speller.counts.get(name, 0)
        return name not in self.grammar and 2 * self.values.size(name) > num_items

    def _find_values(self, name: str, goes_on: bool = True) -> tuple[str, ...]:
        """A value, another form of one, or the values that a synonym is made of."""
        if self._is_value(name):
            return (name,)
        forms = () if self._is_of_titles(name) else other_forms(name, self.lexical.language)
        if found := next(filter(self._is_value, forms), ""):
            return (found,)
        for term in self.synonyms.also.get(name, ()):
            parts: list[tuple[str, ...]] = [(term,)] if self._is_value(term) else []
            if " " in term and goes_on and not parts:
                parts = [self._find_values(word, False) for word in term.split(" ")]
            if parts and all(parts):
                return tuple(value for part in parts for value in part)
        return ()

    def _is_of_titles(self, word: str) -> bool:
        """Whether a word is a title, or a few have it: it is no other form of a value then. "Star
        Wars" is no war, and "Leon" not Sergio Leone.
        """
        if word in self.titles:
            return True
        return len(self.titles.completions(word, _FEW_TITLES)) == _FEW_TITLES
