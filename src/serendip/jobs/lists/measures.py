"""Measures of the lists of an engine, which is asked as pages ask it: by requests.

They know nothing of how lists are made, so that no mechanism is judged by its own numbers: items
are alike by the values of their attributes and by their semantic IDs, what is right in a search
is what the catalogue says of the items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.text import normalise, words
from serendip.engine.answer import AnswerItem, Evidence
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import WORDS
from serendip.engine.request import Request
from serendip.engine.stages.exploration import EXPLORED
from serendip.evaluate.lists import Measured
from serendip.evaluate.runs import Values
from serendip.jobs.lists.item_facts import ItemFacts
from serendip.jobs.lists.queries import NamedQuery, write_gibberish
from serendip.search.phrases import ENGLISH
from serendip.search.understanding import GENERIC

K, FIRST = 10, 5
"""Places of a list, and of a search, that are looked at."""

LIKENESS = "attributes in common"
TRUTH = "have what the query names"
NOTHING = "random letters answered by nothing"
REJECTED = "rejected items shown as new"
"""Names of measures that the gate reads, too."""

_RANDOM_PAIRS = 2_000
_FLOOR = 90
"""Percentile of the cosines of random pairs below which two items are not alike."""

_EXPLAINED = 3
"""First places of a list whose reasons are looked at."""

_MATCHES, _BEGINNING = WORDS.partition("{")[0], 4
"""How the reason begins that names words, and the letters in which their forms are the same."""

_SUGGESTED, _NEWEST = 10, 50
"""Suggested queries of a user, and choices of theirs that new items are compared with."""


@dataclass(frozen=True, eq=False)
class ListMeasures:
    """Asks an engine and measures its lists."""

    engine: Engine
    facts: ItemFacts

    def ask(self, surface: str, k: int, user_id: str = "", **fields: object) -> list[str]:
        """Ids of the first items of an answer."""
        return self.list_ids(Request(surface, user_id, k=k, **fields))  # type: ignore[arg-type]

    def list_ids(self, request: Request) -> list[str]:
        """Ids of the items of an answer."""
        plain = replace(request, reasons=False, parts=False)
        return [item.item_id for item in self.engine.recommend(plain).items]

    def measure_similar(self, pages: Sequence[str], users: Sequence[str]) -> list[Measured]:
        """Likeness of the items beside items (R,) that users (R,) see, empty = visitors."""
        group = "similar items, known users" if any(users) else "similar items, visitors"
        lists = [
            self.ask("similar", K, user, item_ids=(page,))
            for page, user in zip(pages, users, strict=True)
        ]
        facts = self.facts
        alike = _compare(pages, lists, facts.compare_values)
        codes = _compare(pages, lists, facts.compare_codes)
        nothing = _compare(
            pages, lists, lambda one, other: not facts.values_of(one) & facts.values_of(other)
        )
        measured = [Measured(group, "codes in common", pages, codes)]
        if facts.kinds:
            measured.insert(0, Measured(group, LIKENESS, pages, alike))
            measured.append(Measured(group, "no value in common", pages, nothing, "less"))
        if facts.popular:
            top = _compare(pages, lists, lambda _, other: other in facts.popular)
            measured.append(Measured(group, "places of the 1 % most popular", pages, top, "less"))
        return measured

    def measure_truth(self, kind: str, queries: Sequence[NamedQuery]) -> Measured:
        """Share of the first five that have what a query names, of as many as could be."""
        shares = [
            self.facts.share_of(query.right, self.ask("search", FIRST, text=query.text))
            for query in queries
        ]
        texts = [query.text for query in queries]
        return Measured("truth of search", f"{TRUTH}: {kind}", texts, np.array(shares))

    def measure_gibberish(self, titles: Sequence[str], limit: int, seed: int) -> Measured:
        """Whether random words, made of the letters of titles, find nothing."""
        words = write_gibberish(titles, limit, seed)
        nothing = [float(not self.ask("search", 1, text=word)) for word in words]
        return Measured("searches", NOTHING, words, np.array(nothing))

    def measure_rejected(self, users: Sequence[str], rejected: frozenset[str]) -> Measured:
        """Share of the places of home with items as new that most people rejected."""
        shares, wrong = [], list[str]()
        for user in users:
            request = Request("home", user, k=K, reasons=False, parts=False)
            shown = [one for one in self.engine.recommend(request).items if one.item_id in rejected]
            as_new = [one.item_id for one in shown if self._is_as_new(request, one)]
            shares.append(len(as_new) / K)
            wrong += as_new
        titles = tuple(self.facts.title(item_id) for item_id in dict.fromkeys(wrong))
        return Measured("new items", REJECTED, users, np.array(shares), "none", titles)

    def measure_new(self, users: Sequence[str]) -> Measured:
        """Likeness of the new items of home to what a user chose; 0 where none is shown.

        An item is as like a user's choices as it is like the nearest of the newest ones.
        """
        new = self.engine.state.new_items.mask  # (N,)
        number = self.engine.state.catalogue.vocabulary.number
        compare = self.facts.compare_values if self.facts.kinds else self.facts.compare_codes
        likeness = []
        for user in users if new.any() else ():
            chosen = [one.item_id for one in self.engine.chosen(user, _NEWEST)]
            shown = [one for one in self.ask("home", 2 * K, user) if new[number(one)]]
            nearest = [max((compare(one, own) for own in chosen), default=0.0) for one in shown]
            likeness.append(sum(nearest) / max(len(nearest), 1))
        asked = users[: len(likeness)]
        return Measured("new items", "like what the user chose", asked, np.array(likeness))

    def _is_as_new(self, request: Request, item: AnswerItem) -> bool:
        if item.parts.get(EXPLORED) == 1.0:
            return True
        evidence = self.engine.explain(request, item.item_id).evidence
        return bool(evidence) and evidence[0].kind == "new"

    def measure_suggested(self, users: Sequence[str]) -> tuple[list[Measured], Counter[str]]:
        """Kinds and variety of queries suggested without a typed text; how many of each kind."""
        bare = {normalise(value) for _, value in self.facts.list_values(1)}
        lists = [self.engine.suggest(Request(user_id=user, k=_SUGGESTED)).queries for user in users]
        kinds = Counter(one.kind for queries in lists for one in queries)
        shares, seen, firsts = [], set[str](), []
        for queries in lists:
            texts = [normalise(one.text) for one in queries]
            shares.append(sum(text in bare for text in texts) / max(len(texts), 1))
            firsts.append(sum(text not in seen for text in texts) / max(len(texts), 1))
            seen.update(texts)
        group = "suggested queries"
        return [
            Measured(group, "are only a value of a field", users, np.array(shares), "less"),
            Measured(group, "suggested to nobody before", users, np.array(firsts)),
        ], kinds

    def measure_reasons(self, name: str, requests: Sequence[Request]) -> Measured:
        """Share of the reasons of the first places that mislead, of requests with reasons."""
        shares = []
        for request in requests:
            answer = self.engine.recommend(request)
            told = [item for item in answer.items[:_EXPLAINED] if item.reason]
            wrong = sum(self._misleads(request, item) for item in told)
            shares.append(wrong / max(len(told), 1))
        asked = [
            request.user_id or request.text or "".join(request.item_ids) for request in requests
        ]
        return Measured("reasons that mislead", name, asked, np.array(shares), "none")

    def _misleads(self, request: Request, item: AnswerItem) -> bool:
        """Whether the reason of an item says what is not so; see the guide of evaluation."""
        evidence = self.engine.explain(request, item.item_id).evidence
        told = next((one for one in evidence if one.text == item.reason), None)
        if told is None:
            return False
        if told.kind == "popular":  # where a text or an item is asked about, it is no reason
            return bool(request.text or request.item_ids)
        if told.kind == "word":
            return told.text.startswith(_MATCHES) and self._lacks_words(told.text, item.item_id)
        if told.kind == "transition":
            return not self.facts.is_chosen(item.item_id)
        return self._is_unlike(told, item)

    def _lacks_words(self, text: str, item_id: str) -> bool:
        """Whether nothing of an item begins as a word does that it is said to match."""
        item = self.engine.item(item_id)
        assert item is not None
        fields = map(item.field_text, ("description", *item.attributes))
        own = words(normalise(" ".join((item.title, *fields, item.generated_text))))
        said = [word for word in words(normalise(text.removeprefix(_MATCHES))) if word.isalpha()]
        said = [word for word in said if word not in GENERIC | ENGLISH]
        return any(not any(one.startswith(word[:_BEGINNING]) for one in own) for word in said)

    def _is_unlike(self, told: Evidence, item: AnswerItem) -> bool:
        """Whether an item is said to be like another one, and is as random pairs are.

        Two items with a value in common are alike whatever their vectors say.
        """
        if told.kind not in ("content", "new") or not told.item_id:
            return False
        if self.facts.values_of(told.item_id) & self.facts.values_of(item.item_id):
            return False
        vocabulary = self.engine.state.catalogue.vocabulary
        content = self.engine.state.features.content
        pair = content[vocabulary.numbers([told.item_id, item.item_id])]
        return float(pair[0] @ pair[1]) < self._floor

    @cached_property
    def _floor(self) -> float:
        """The cosine that nine of ten random pairs of items are below."""
        content = self.engine.state.features.content
        rows = np.random.default_rng(0).integers(0, len(content), (2, _RANDOM_PAIRS))
        cosines = np.einsum("pd,pd->p", content[rows[0]], content[rows[1]])
        return float(np.percentile(cosines, _FLOOR))


def find_rejected(dataset: Dataset) -> frozenset[str]:
    """Ids of the items that more people rejected than chose."""
    negatives, size = dataset.negatives, dataset.num_items
    counts = np.bincount(negatives.items, minlength=size) - dataset.item_counts()
    rows = np.flatnonzero(counts > 0).astype(np.int32)
    return frozenset(dataset.catalogue.vocabulary.ids_of(rows))


def _compare(
    pages: Sequence[str], lists: Sequence[Sequence[str]], of_pair: Callable[[str, str], float]
) -> Values:
    """Mean (R,) over the items of each list of a value of the pair with the page; 0 without any."""
    return np.array(
        [
            sum(of_pair(page, other) for other in shown) / max(len(shown), 1)
            for page, shown in zip(pages, lists, strict=True)
        ],
        np.float64,
    )
