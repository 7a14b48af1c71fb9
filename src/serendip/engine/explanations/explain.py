"""Evidence: why an item is shown, each reason as one sentence, from the models' own numbers.

**Choice of a ground**: each item is given the strongest ground there is, where a kind counts less
with each time that the list has told it, as in the diversification of results (maximal marginal
relevance, Carbonell and Goldstein 1998). The same sentence, or one of a kind that rests on no item,
is told a few times at most. So a list does not say the same thing ten times, and of an item nothing
is told that is far weaker than its strongest ground.

Strengths of different kinds are made comparable by what the strongest of a kind in the list has:
1 for that one, its share of it for the others. Kinds that say less of the user (a group,
popularity) reach less than 1, and those that leave nothing open (the title that was typed) more.

**Values of attributes** that a user chooses more often than the catalogue has them: one, such as an
author or a genre, is particular to a user by p log(p / q), where p is the share of the user's
newest items that have it and q that of the catalogue: its part of the divergence of the two
(Kullback and Leibler 1951). What everybody has is not particular, nor is what the user chose once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.content.semantic_ids.group_names import build_group_name, shared_parts
from serendip.data import BoolArray, FloatArray, IntArray, Query, locate, normalise
from serendip.data.items.semantic_ids import common_prefix
from serendip.engine.explanations.influence import Influence
from serendip.engine.explanations.translation import DEFAULT, Language, find_translation, translate
from serendip.engine.feature_names import models_of_kind
from serendip.engine.request import Evidence
from serendip.engine.state import EngineState
from serendip.models.base import Recommender, ScoreKind, VoteEvidence
from serendip.search.understanding import CORRECTED, EXACT

TOLERANCE = 0.5  # a ground with this share of the strongest one's strength may be told instead
REPEATED = 0.85  # what a ground counts for with each time that its kind has been told in the list
MOST_ALIKE = 3  # times that a list says the same: of the same items, or of none, as of popularity
DECISIVE = 3.0  # strength of a ground beside which no other one is told


class Ground(NamedTuple):
    """A ground for showing one item; its sentence is made where it is told.

    Args:
        row: the item, as a position in the list.
        kind: of the evidence.
        strength: comparable over kinds, above 0.
        weight: as in ``Evidence``.
        sentence: template.
        names: values of the template, besides the title of the last item that it rests on.
        rests_on: numbers of the items of the history or the context behind it.
    """

    row: int
    kind: str
    strength: float
    weight: float
    sentence: str
    names: Mapping[str, str | float] = MappingProxyType({})
    rests_on: tuple[int, ...] = ()


def group_by_row(grounds: Iterable[Ground], count: int) -> list[list[Ground]]:
    """The grounds of each of ``count`` items, in the order in which they come."""
    rows: list[list[Ground]] = [[] for _ in range(count)]
    for ground in grounds:
        rows[ground.row].append(ground)
    return rows


def choose_grounds(rows: Sequence[Sequence[Ground]]) -> list[Ground | None]:
    """One ground for each item, None for an item without any."""
    told: Counter[str] = Counter()
    alike: Counter[tuple[object, ...]] = Counter()
    chosen: list[Ground | None] = []
    for grounds in rows:
        least = TOLERANCE * max((ground.strength for ground in grounds), default=0.0)
        best, most = None, 0.0
        for ground in grounds:
            worth = ground.strength * REPEATED ** told[ground.kind]
            is_worn = alike[_what_is_said(ground)] >= MOST_ALIKE
            if ground.strength >= least and worth > most and not is_worn:
                best, most = ground, worth
        if best is not None:
            told[best.kind] += 1
            alike[_what_is_said(best)] += 1
        chosen.append(best)
    return chosen


def _what_is_said(ground: Ground) -> tuple[object, ...]:
    names = ground.names if ground.rests_on else ("value",)
    return ground.sentence, ground.rests_on[-1:], *(ground.names.get(name) for name in names)


def order_grounds(grounds: Sequence[Ground]) -> list[Ground]:
    """The grounds of one item, those of the strongest kind first, and the strongest of a kind."""
    strongest: dict[str, float] = {}
    for ground in grounds:
        strongest[ground.kind] = max(ground.strength, strongest.get(ground.kind, 0.0))
    kinds = sorted(strongest, key=lambda kind: -strongest[kind])
    return sorted(grounds, key=lambda ground: (kinds.index(ground.kind), -ground.strength))


NEWEST = 20  # items of the history that are compared
_LEAST = 2  # items of a history that must have a value, and items of the catalogue
_KEY = "attribute preferences"


class Preference(NamedTuple):
    """A value of the user's newest items, or of the source items of a request.

    Args:
        strength: in (0, 1], how particular it is.
        items: numbers of the items that have it, oldest first.
    """

    strength: float
    items: tuple[int, ...]


# Number of items that were compared, and value -> how particular it is; others are left out.
Preferences: TypeAlias = tuple[int, Mapping[str, Preference]]


def find_preferences(query: Query, state: EngineState) -> Preferences:
    """Preferences of a request: of its source items if it has any, else of the user's newest items.

    They are kept with the history as long as the catalogue stays the same.
    """
    if len(query.source_items):
        return _compare(query.source_items.tolist(), state, 1)
    derived = query.history.derived
    found: tuple[object, Preferences] | None = derived.get(_KEY)
    if found is None or found[0] is not state.catalogue:
        newest = query.history.item_nums.tolist()[::-1]
        items = [item for item in dict.fromkeys(newest) if not state.hidden[item]][:NEWEST]
        found = derived[_KEY] = state.catalogue, _compare(items[::-1], state, _LEAST)
    return found[1]


def _compare(items: list[int], state: EngineState, least: int) -> Preferences:
    having: dict[str, list[int]] = {}
    for item in items:
        for word in state.catalogue.words(item):
            having.setdefault(word, []).append(item)
    values = {}
    for word, owners in having.items():
        known = state.searcher.values.count(normalise(word))
        share = len(owners) / len(items)
        if len(owners) < least or known < _LEAST or share * state.num_items <= known:
            continue
        strength = share * math.log(share * state.num_items / known)
        values[word] = Preference(min(strength, 1.0), tuple(owners))
    return len(items), values


TITLE = "The title is what you typed"
ITEM_ID = "Its number is what you typed"
MEANT = "Probably meant by “{text}”"
WORDS = "Matches “{text}”"
RELATED = "Related to “{text}”"
AGAIN = "You chose it before"
VALUE_OF_PAST = "{value}, like {count} of the last {size} you chose"
VALUE_OF_ITEM = "{value}, like {title}"
GROUP = "In the same group as {title}"
NAMED_GROUP = "In the same group as {title}: {name}"
COUNTRY = "Popular in {country}"
POPULAR = "Among the {share} % most popular, with {count:,} interactions"
POPULAR_OF_VALUE = "In the top {size} by likes and popularity: {value}"
NEW = "New here"
NEW_AND_LIKE = "New, and like {title}"

SENTENCES = {
    TITLE: "title",
    ITEM_ID: "item_id",
    MEANT: "meant",
    WORDS: "words",
    RELATED: "related",
    AGAIN: "again",
    VALUE_OF_PAST: "value_of_past",
    VALUE_OF_ITEM: "value_of_item",
    GROUP: "group",
    NAMED_GROUP: "named_group",
    COUNTRY: "country",
    POPULAR: "popular",
    POPULAR_OF_VALUE: "popular_of_value",
    NEW: "new",
    NEW_AND_LIKE: "new_and_like",
}
"""Of all reasons but the votes of models, whose sentences are ``VoteEvidence``: template -> code.
The code of a vote is its kind."""

_PER_MODEL = 2  # votes of one model that become evidence for an item, at most
_RECENT = 20  # newest items of the history whose semantic IDs are compared
_POPULAR_SHARE = 0.2  # share of the catalogue that counts as popular
_SECOND = 0.5  # strength of what is true of an item for everybody, or of its whole group
# Best items of a value, of at least so many that have it, and the strength of being one.
_BEST, _MANY, _OF_VALUE = 10, 100, 0.4

_TINY = 1e-12
_FEWEST_CHOICES = 3  # from which on an item is told to be chosen with or after another one
_LAST = 0.01  # strength of a ground that is told where there is no other one

Rows: TypeAlias = NDArray[np.intp]  # positions of some of the items to explain


def list_sentences(state: EngineState, language: Language) -> dict[str, str]:
    """The templates of all reasons, each with what is told in a language."""
    votes = [model.evidence for model in state.models.values() if model.evidence is not None]
    sentences = (*SENTENCES, *(_tell_vote(vote, language) for vote in votes))
    return {sentence: find_translation(sentence, language) for sentence in sentences}


def _tell_vote(vote: VoteEvidence, language: Language) -> str:
    return vote.korean if language == "ko" and vote.korean else vote.sentence


@dataclass(frozen=True, slots=True)
class Explainer:
    """Collects evidence for the items of one answer, for all items at once.

    Args:
        items: (C,) int32 items to explain.
        influence: of the history on the values of the items; None = not known.
        best_words: BM25 of the best first item of the list, a ground that is as strong as can be;
            0 = that of the best of these items.
        wordings: template -> one in the language, which is told in its place.
    """

    state: EngineState
    query: Query
    items: IntArray
    language: Language = DEFAULT
    influence: Influence | None = None
    best_words: float = 0.0
    wordings: Mapping[str, str] = field(default_factory=dict)

    def evidence(self, matches: Sequence[float], scores: Sequence[float]) -> list[list[Evidence]]:
        """The evidence for each item, strongest kind first, no sentence twice.

        Args:
            matches: (C,) title match of each item in [0, 1]; NaN = the request has no text.
            scores: (C,) BM25 of each item, 0 = it has none of the words; NaN = no text.
        """
        everything = np.arange(len(self.items))
        strong = self._strong_grounds(matches, scores, _PER_MODEL)
        weak = self._weak_grounds(everything, _PER_MODEL)
        rows = group_by_row((*strong, *weak), len(self.items))
        told = [[self._tell(ground) for ground in order_grounds(found)] for found in rows]
        return [list({one.text: one for one in reversed(found)}.values())[::-1] for found in told]

    def reasons(self, matches: Sequence[float], scores: Sequence[float]) -> list[Evidence | None]:
        """The evidence that is told for each item; None = there is none."""
        chosen = self.chosen(matches, scores)
        return [None if ground is None else self._tell(ground) for ground in chosen]

    def _title(self, item_id: str) -> str:
        catalogue = self.state.catalogue
        return item_id and (catalogue.title(catalogue.vocabulary.number(item_id)) or item_id)

    def chosen(self, matches: Sequence[float], scores: Sequence[float]) -> list[Ground | None]:
        """The ground that is told for each item: the strongest, its kind varied over the list.

        Kinds that are weak nearly always are computed only for items without another one, and for
        those that are new.
        """
        grounds = list(self._strong_grounds(matches, scores, 1))
        is_open = self._is_new
        is_open[list({*range(len(self.items))} - {ground.row for ground in grounds})] = True
        if is_open.any():
            grounds += self._weak_grounds(np.flatnonzero(is_open), 1)
        return choose_grounds(group_by_row(grounds, len(self.items)))

    def _tell(self, ground: Ground) -> Evidence:
        state, sentence, names = self.state, ground.sentence, dict(ground.names)
        item_id = state.catalogue.vocabulary.id(ground.rests_on[-1]) if ground.rests_on else ""
        if sentence is GROUP:
            item = int(self.items[ground.row])
            group = build_group_name(
                state.code_names, state.features.codes[item][: int(ground.weight)]
            )
            pair = (state.catalogue[one] for one in (item, *ground.rests_on))
            names["name"] = shared_parts(group, *pair)
            sentence = NAMED_GROUP if names["name"] else GROUP
        code = SENTENCES.get(sentence, ground.kind)
        sentence = self.wordings.get(sentence, sentence)
        if item_id:
            names["title"] = self._title(item_id)
        text = translate(sentence, self.language, **names)
        return Evidence(ground.kind, text, round(ground.weight, 4), item_id, code, names)

    def _strong_grounds(
        self, matches: Sequence[float], scores: Sequence[float], most: int
    ) -> Iterator[Ground]:
        """Grounds of the kinds that are often strong; of equal ones the first comes first.

        Where words were searched, they are the reason: what others chose and what the user prefers
        is told on request only, as a search does not rest on it.
        """
        rows, text = np.arange(len(self.items)), self._asked
        if text:
            yield from self._word_grounds(matches, scores)
        if len(self.query.again):
            yield from self._again_grounds()
        if self.query.has_context and (not text or most > 1):
            for model in self._strong_models():
                yield from self._vote_grounds(model, rows, most)
            yield from self._preference_grounds()
        if not text and not len(self.query.source_items):
            # Lists about a text or an item are not in the order of popularity.
            yield from self._country_grounds()
            yield from self._popularity_grounds()
            if not self.query.has_context:
                yield from self._value_grounds()

    def _weak_grounds(self, rows: Rows, most: int) -> Iterator[Ground]:
        if self.query.has_context:
            votes = [
                ground
                for model in self._voting_models("similarity")
                for ground in self._vote_grounds(model, rows, most)
            ]
            yield from self._new_grounds(votes)
            yield from votes
            yield from self._code_grounds(rows)
        for row in rows[self._is_new[rows]].tolist():
            yield Ground(row, "new", _LAST, 0.0, NEW)

    @property
    def _asked(self) -> str:
        # Empty of a text that asks for the best of all items.
        content = self.state.searcher.read(self.query.text, self.query.is_literal).content
        return "" if content.is_whole and not content.values else self.query.text

    @property
    def _is_new(self) -> BoolArray:
        new, state = self.state.new_items, self.state  # (C,), a copy; none if most are new
        is_usual = new.count > state.num_items / 2
        return np.zeros(len(self.items), np.bool_) if is_usual else new.mask[self.items]

    def _word_grounds(self, matches: Sequence[float], scores: Sequence[float]) -> Iterator[Ground]:
        largest = self.best_words or max((score for score in scores if score > 0), default=1.0)
        typed = self.state.match_id(self.query.text)
        for row, (match, score) in enumerate(zip(matches, scores, strict=True)):
            searched, strength = self.query.shown, DECISIVE
            if self.items[row] == typed:
                sentence = ITEM_ID
            elif match >= EXACT:
                sentence = TITLE
            elif match >= CORRECTED:
                sentence, searched = MEANT, self.query.typed or self.query.text
            elif score > 0:
                sentence, searched = self._held(int(self.items[row]))
                strength = min(score / largest, 1.0)
            else:
                sentence, strength = RELATED, _SECOND
            weight = round(max(match, 0.0) if match == match else 0.0, 3)
            yield Ground(row, "word", strength, weight, sentence, {"text": searched})

    def _held(self, item: int) -> tuple[str, str]:
        query, found = self.query, self.state.catalogue[item]
        held, is_whole = self.state.searcher.find_held(query.text, found, query.is_literal)
        if is_whole or held:
            return WORDS, query.shown if is_whole else held
        return RELATED, query.shown  # by a synonym, or as it was chosen after such a search

    def _again_grounds(self) -> Iterator[Ground]:
        for row in np.flatnonzero(locate(self.query.again, self.items)[1]).tolist():
            rests_on = (int(self.items[row]),)
            yield Ground(row, "again", DECISIVE, 1.0, AGAIN, rests_on=rests_on)

    def _voting_models(self, kind: ScoreKind) -> list[Recommender]:
        models = [self.state.models[name] for name in models_of_kind(self.state.models, kind)]
        return [model for model in models if model.evidence is not None]

    def _strong_models(self) -> list[Recommender]:
        known = {} if self.influence is None else self.influence.votes
        similar = [model for model in self._voting_models("similarity") if model.name in known]
        return self._voting_models("count") + similar

    def _vote_grounds(self, model: Recommender, rows: Rows, most: int) -> Iterator[Ground]:
        """The strongest votes of one model, at most ``most`` for an item.

        A vote is as strong as what the value of the item loses without the item that gives it.
        Where that is not known, its strength is its share of all votes of the model for the item.
        """
        rule, counts = model.evidence, self.state.counts
        assert rule is not None
        fewest = 0 if rule.covers_new_items else _FEWEST_CHOICES
        rows = rows[counts[self.items[rows]] >= fewest]
        given = self._votes(model, rows) if len(rows) else None
        if given is None or not len(given[0]):
            return
        context, votes = given  # (T,), (T, C)
        is_told = ~self.state.hidden[context] & (counts[context] >= fewest)  # (T,)
        shown = np.where(is_told[:, None], votes, 0.0)
        if self.influence is None:
            strengths = shown / np.maximum(np.maximum(shown, 0.0).sum(0), _TINY)  # (T, C)
        else:
            effects = self.influence.strengths(context)[:, rows]  # (T, C)
            strengths = np.where(shown > model.least_vote, effects, 0.0)
        order = np.lexsort((-shown, -strengths), axis=0)  # of equally strong votes the larger
        best = order[:most]  # (most, C)
        strongest, shares = (np.take_along_axis(one, best, 0) for one in (shown, strengths))
        sentence = _tell_vote(rule, self.language)
        is_ground = strongest > model.least_vote  # (most, C)
        if most == 1:  # Of all evidence, a vote that does nothing for the value is a part, too.
            is_ground &= shares > 0
        columns, ranks = np.nonzero(is_ground.T)
        parts = (part[ranks, columns].tolist() for part in (context[best], strongest, shares))
        for row, item, weight, share in zip(rows[columns].tolist(), *parts, strict=True):
            yield Ground(row, rule.kind, share, weight, sentence, rests_on=(item,))

    def _votes(self, model: Recommender, rows: Rows) -> tuple[IntArray, FloatArray] | None:
        known = None if self.influence is None else self.influence.votes.get(model.name)
        if known is None:
            return model.compute_votes(self.query, self.items[rows])
        return known.context, known.given[:, rows]

    def _new_grounds(self, votes: Sequence[Ground]) -> Iterator[Ground]:
        is_new, ordered = self._is_new, sorted(votes, key=lambda ground: -ground.strength)
        for ground in {ground.row: ground for ground in reversed(ordered)}.values():
            if is_new[ground.row]:
                yield ground._replace(kind="new", sentence=NEW_AND_LIKE)

    def _preference_grounds(self) -> Iterator[Ground]:
        size, liked = find_preferences(self.query, self.state)
        if not liked:
            return
        sentence = VALUE_OF_ITEM if len(self.query.source_items) else VALUE_OF_PAST
        of_words: dict[str, FloatArray] = {}
        for row, item in enumerate(self.items.tolist()):
            shared = [word for word in self.state.catalogue.words(item) if word in liked]
            if not shared:
                continue
            word = max(shared, key=lambda word: liked[word].strength)
            strength, items = liked[word]
            if self.influence is not None:
                if word not in of_words:
                    of_words[word] = self.influence.strengths_of_set(items, size)
                strength = float(of_words[word][row])
            if strength > 0:
                names: dict[str, str | float] = {"value": word, "count": len(items), "size": size}
                yield Ground(row, "attribute", strength, strength, sentence, names, items)

    def _code_grounds(self, rows: Rows) -> Iterator[Ground]:
        query, codes = self.query, self.state.features.codes
        anchors = query.source_items if len(query.source_items) else query.history.item_nums
        anchors = anchors[~self.state.hidden[anchors]][-_RECENT:]
        if not len(anchors):
            return
        shared = common_prefix(codes[self.items[rows]][:, None], codes[anchors][None])  # (C, A)
        nearest = anchors[shared.argmax(1)]
        for row, anchor, depth in zip(rows, nearest, shared.max(1), strict=True):
            if depth:
                strength, rests_on = _SECOND * float(depth) / codes.shape[1], (int(anchor),)
                yield Ground(int(row), "code", strength, float(depth), GROUP, rests_on=rests_on)

    def _country_grounds(self) -> Iterator[Ground]:
        counts, country = self.state.context.fields.get("country"), self.query.country
        number = -1 if counts is None else counts.number(country)
        if counts is None or number < 0:
            return
        top = counts.top_of(number)  # (K,)
        most = max(int(_POPULAR_SHARE * len(top)), 1)
        sizes = counts.counts_of(number, self.items)
        for row, place in np.argwhere(self.items[:, None] == top[None, :most]).tolist():
            strength, size = _SECOND * (1.0 - place / most), float(sizes[row])
            yield Ground(row, "country", strength, size, COUNTRY, {"country": country})

    def _popularity_grounds(self) -> Iterator[Ground]:
        state = self.state
        counts = state.counts[self.items]
        ordered = state.derived.value("counts", lambda: np.sort(state.counts))  # (N,)
        ahead = state.num_items - np.searchsorted(ordered, counts, side="right")
        shares = (ahead + 1) / state.num_items
        for row, (share, count) in enumerate(zip(shares.tolist(), counts.tolist(), strict=True)):
            if count >= _FEWEST_CHOICES and share <= _POPULAR_SHARE:
                names = {"share": math.ceil(100 * share), "count": count}
                strength = max(_SECOND * (1.0 - share / _POPULAR_SHARE), _LAST)
                yield Ground(row, "popular", strength, float(count), POPULAR, names)

    def _value_grounds(self) -> Iterator[Ground]:
        values = self.state.searcher.values
        for row, item in enumerate(self.items.tolist()):
            words = self.state.catalogue.words(item) if self.state.counts[item] else ()
            sizes = {word: values.size(normalise(word)) for word in words}
            for word in sorted(sizes, key=lambda word: (-sizes[word], word)):
                if sizes[word] < _MANY:
                    break
                if item in values.best(normalise(word), _BEST):
                    names: dict[str, str | float] = {"size": _BEST, "value": word}
                    yield Ground(row, "popular", _OF_VALUE, 1.0, POPULAR_OF_VALUE, names)
                    break
