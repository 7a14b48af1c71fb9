"""What people see: lists of an engine, asked for as pages ask, and what is measured of them.

The gate of a generation compares the measures with those of the one in force; a report also shows
some lists by title. Measures know nothing of how lists are made, so that no mechanism is judged by
its own numbers: items are alike by the values of their attributes and by their semantic IDs, what
is right in a search is what the catalogue says of the items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import cycle

import numpy as np

from serendip.data.dataset import Dataset
from serendip.data.text import normalise, words
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import WORDS
from serendip.engine.request import AnswerItem, Evidence, Request
from serendip.engine.stages.list_rules import EXPLORED
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, NotTrainedError
from serendip.evaluate.lists import ListFigure, ListFigures, Measured, ShownList
from serendip.jobs.lists.item_facts import ItemFacts, choose
from serendip.jobs.lists.queries import NamedQuery, read_queries, write_gibberish, write_queries
from serendip.jobs.surface_quality.sample import take_turns
from serendip.search.language import ENGLISH
from serendip.search.understanding import GENERIC

ASKED = 60
"""Requests of each measure; fewer than 50 would not be compared by the gate."""

K, FIRST = 10, 5
"""Places of a list, and of a search, that are looked at."""

LIKENESS = "attributes in common"
REJECTED = "rejected items shown as new"
"""Names of measures; the gate reads the latter, too."""

TYPED = "typed by people"
SHOWN = {"similar": 10, "search": 20, "home": 10}
"""Surface -> lists that a report shows by title."""

_PAST = 5
"""Titles that tell whom a list of home is for."""

_RANDOM_PAIRS = 2_000
_FLOOR = 90
"""Percentile of the cosines of random pairs below which two items are not alike."""

_EXPLAINED = 3
"""First places of a list whose reasons are looked at."""

_MATCHES, _BEGINNING = WORDS.partition("{")[0], 4
"""How the reason begins that names words, and the letters in which their forms are the same."""

_SUGGESTED, _NEWEST = 10, 50
"""Suggested queries of a user, and choices of theirs that new items are compared with."""


def describe_lists(workspace: Workspace, dataset: Dataset, seed: int) -> ListFigures:
    """Figures and lists of the published generation; without one nothing is measured.

    The users, rejections and logged searches are those of the report; the seed is of the choice of
    requests and of the bootstrap.
    """
    try:
        engine = Engine.open(workspace.folder)
    except (NotTrainedError, ArtefactError) as error:
        return ListFigures(missing=[f"Nothing: {error}"])
    with engine:
        survey = ListSurvey(engine, dataset, seed)
        figures = [ListFigure.of(one, seed) for one in survey.measure()]
        kinds = dict(survey.suggested.most_common())
        return ListFigures(engine.generation, figures, survey.show(), kinds, survey.missing)


class ListSurvey:
    """Asks an engine about some users, items and queries of a dataset.

    Attributes:
        requests: surface -> requests of its lists, whose reasons are looked at.
        suggested: kind -> number of the suggested queries.
        missing: what is not measured, and why, one sentence each.
    """

    def __init__(self, engine: Engine, dataset: Dataset, seed: int = 0) -> None:
        self.engine, self.dataset, self.seed = engine, dataset, seed
        self.facts = ItemFacts(engine)
        self.users = choose(dataset.users.ids, ASKED, seed)
        self.pages = self.facts.choose_items(ASKED, seed)
        self.suggested, self.missing = Counter[str](), list[str]()
        if not self.facts.kinds:
            self.missing.append(
                "Likeness by attributes and truth of search: no attribute has values that several "
                "items share."
            )
        if not self.users:
            self.missing.append("What known users see: there are no events of users.")
        self.requests = dict[str, list[Request]]()
        if engine.needs("similar") == "items":
            pages = [Request("similar", item_ids=(page,), k=K) for page in self.pages]
            self.requests["similar"] = pages
        if engine.needs("search") == "query":
            self._written = write_queries(self.facts, ASKED, seed)
            # What people typed may tell who they are: it is measured and never shown.
            texts = [query.text for query in take_turns(list(self._written.values()))][:ASKED]
            texts += map(self.facts.title, self.pages[: ASKED - len(texts)])
            self.requests["search"] = [Request("search", text=text, k=K) for text in texts]
        self.requests["home"] = [Request("home", user, k=K) for user in self.users or [""]]

    def measure(self) -> list[Measured]:
        """All measures that have values."""
        found = list[Measured]()
        if "similar" in self.requests:
            found += self.measure_similar(self.pages, [""])
            found += self.measure_similar(self.pages, self.users) if self.users else []
        if "search" in self.requests:
            named = self._written | self._read_typed()
            found += [self.measure_truth(kind, queries) for kind, queries in named.items()]
            found.append(self._measure_gibberish())
        found += [self._measure_rejected(), self._measure_new()] if self.users else []
        found += self._measure_suggested()
        found += [self.measure_reasons(f"of {name}", some) for name, some in self.requests.items()]
        return [one for one in found if len(one.values)]

    def show(self) -> dict[str, list[ShownList]]:
        """Surface -> some of its lists, by title."""
        shown = dict[str, list[ShownList]]()
        for surface, requests in self.requests.items():
            shown[surface] = []
            for request in requests[: SHOWN[surface]]:
                titles = [self.facts.title(item_id) for item_id in self.list_ids(request)]
                shown[surface].append(ShownList(self._describe(request), titles))
        return shown

    def _describe(self, request: Request) -> str:
        """What was asked; of a user the newest choices, never the id, which an erasure removes."""
        if request.text or request.item_ids:
            return request.text or self.facts.title(request.item_ids[0])
        chosen = self.engine.chosen(request.user_id, limit=1_000)
        if not chosen:
            return "Somebody who has chosen nothing"
        titles = [self.facts.title(one.item_id) for one in chosen[:_PAST]]
        return f"After {', '.join(titles)}; {len(chosen):,} in all"

    def answer(self, surface: str, user_id: str = "", k: int = K, **fields: object) -> list[str]:
        """Ids of the items of an answer."""
        request = Request(surface, user_id, k=k, **fields)  # type: ignore[arg-type]
        return self.list_ids(request)

    def list_ids(self, request: Request) -> list[str]:
        """Ids of the items of the answer to a request."""
        return [item.item_id for item in self._items(request)]

    def _items(self, request: Request) -> Sequence[AnswerItem]:
        return self.engine.recommend(replace(request, reasons=False, parts=False)).items

    def measure_similar(self, pages: Sequence[str], users: Sequence[str]) -> list[Measured]:
        """Likeness of the items beside items (R,) that users see, in turns; empty = visitors."""
        facts = self.facts
        group = f"similar items, {'known users' if any(users) else 'visitors'}"
        lists = [
            self.answer("similar", user, item_ids=(page,))
            for page, user in zip(pages, cycle(users), strict=False)
        ]

        def measured(name: str, of_pair: Callable[[str, str], float], more: bool) -> Measured:
            pairs = zip(pages, lists, strict=True)
            means = [_mean([of_pair(page, other) for other in shown]) for page, shown in pairs]
            return Measured(group, name, pages, np.array(means), "more" if more else "less")

        found = [measured("codes in common", facts.compare_codes, more=True)]
        if facts.kinds:
            found.insert(0, measured(LIKENESS, facts.compare_values, more=True))
            found.append(measured("no value in common", facts.are_unlike, more=False))
        if facts.popular:
            name = "places of the 1 % most popular"
            found.append(measured(name, lambda _, other: other in facts.popular, more=False))
        return found

    def _read_typed(self) -> dict[str, list[NamedQuery]]:
        texts = [one.text for one in self.dataset.requests if one.text.strip()]
        typed = read_queries(self.facts, texts, ASKED, self.seed)
        if not typed:
            self.missing.append(
                f"Truth of what people typed: none of {len(texts):,} searches names a value."
            )
        return {TYPED: typed} if typed else {}

    def measure_truth(self, kind: str, queries: Sequence[NamedQuery]) -> Measured:
        """Share of the first five that have what a query names, of as many as could be."""
        texts = [query.text for query in queries]
        lists = [self.answer("search", k=FIRST, text=text) for text in texts]
        pairs = zip(queries, lists, strict=True)
        shares = [self.facts.share_of(query.right, shown) for query, shown in pairs]
        name = f"have what the query names: {kind}"
        return Measured("truth of search", name, texts, np.array(shares))

    def _measure_gibberish(self) -> Measured:
        """Whether random words, made of the letters of titles, find nothing."""
        gibberish = write_gibberish(list(self.dataset.catalogue.titles), ASKED, self.seed)
        nothing = [float(not self.answer("search", k=1, text=word)) for word in gibberish]
        name = "random letters answered by nothing"
        return Measured("searches", name, gibberish, np.array(nothing))

    def _measure_rejected(self) -> Measured:
        """Share of the places of home with items as new that most people rejected."""
        rejected, shares, wrong = find_rejected(self.dataset), [], list[str]()
        for request in self.requests["home"]:
            shown = [one for one in self._items(request) if one.item_id in rejected]
            as_new = [one.item_id for one in shown if self._is_as_new(request, one)]
            shares.append(len(as_new) / K)
            wrong += as_new
        titles = [self.facts.title(item_id) for item_id in dict.fromkeys(wrong)]
        return Measured("new items", REJECTED, self.users, np.array(shares), "none", titles)

    def _is_as_new(self, request: Request, item: AnswerItem) -> bool:
        if item.parts.get(EXPLORED) == 1.0:
            return True
        evidence = self.engine.explain(request, item.item_id).evidence
        return bool(evidence) and evidence[0].kind == "new"

    def _measure_new(self) -> Measured:
        """Likeness of the new items of home to what a user chose; 0 where none is shown.

        An item is as like a user's choices as it is like the nearest of the newest ones.
        """
        new = self.engine.state.new_items.mask  # (N,)
        number = self.engine.state.catalogue.vocabulary.number
        compare = self.facts.compare_values if self.facts.kinds else self.facts.compare_codes
        asked, likeness = self.users if new.any() else [], []
        for user in asked:
            chosen = [one.item_id for one in self.engine.chosen(user, _NEWEST)]
            shown = [one for one in self.answer("home", user, 2 * K) if new[number(one)]]
            nearest = [max((compare(one, own) for own in chosen), default=0.0) for one in shown]
            likeness.append(_mean(nearest))
        return Measured("new items", "like what the user chose", asked, np.array(likeness))

    def _measure_suggested(self) -> list[Measured]:
        """Kinds and variety of queries suggested without a typed text."""
        users, group = self.users or [""], "suggested queries"
        bare = {normalise(value) for _, value in self.facts.list_values(1)}
        lists = [self.engine.suggest(Request(user_id=user, k=_SUGGESTED)).queries for user in users]
        self.suggested = Counter(one.kind for queries in lists for one in queries)
        shares, seen, firsts = [], set[str](), []
        for queries in lists:
            texts = [normalise(one.text) for one in queries]
            shares.append(_mean([text in bare for text in texts]))
            firsts.append(_mean([text not in seen for text in texts]))
            seen.update(texts)
        return [
            Measured(group, "are only a value of a field", users, np.array(shares), "less"),
            Measured(group, "suggested to nobody before", users, np.array(firsts)),
        ]

    def measure_reasons(self, name: str, requests: Sequence[Request]) -> Measured:
        """Share of the reasons of the first places that mislead."""
        shares = []
        for request in requests:
            items = self.engine.recommend(request).items[:_EXPLAINED]
            shares.append(_mean([self._misleads(request, item) for item in items if item.reason]))
        asked = [one.user_id or one.text or "".join(one.item_ids) for one in requests]
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
        if not self.facts.are_unlike(told.item_id, item.item_id):
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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
