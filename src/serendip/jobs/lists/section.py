"""The section "What people see" of a report: lists of the published generation, and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from serendip.data.dataset import Dataset
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, NotTrainedError
from serendip.evaluate.lists import ListFigure, ListFigures, Measured, ShownList
from serendip.jobs.lists.item_facts import ItemFacts, choose
from serendip.jobs.lists.measures import K, ListMeasures, find_rejected
from serendip.jobs.lists.queries import NamedQuery, read_queries, write_queries
from serendip.jobs.surface_quality.sample import take_turns

ASKED = 60
"""Requests of a measure."""

VARIED = 30
"""Texts that are also written otherwise, and lists whose reasons are looked at."""

TYPED = "typed by people"
SUGGESTED_TO = 24
SHOWN_LISTS, SHOWN_QUERIES = 10, 20
_PAST = 5
"""Titles that tell whom a list of home is for."""


def measure_lists(workspace: Workspace, dataset: Dataset, seed: int) -> ListFigures:
    """Ask the published generation; without one nothing is measured.

    Args:
        workspace: of the generation.
        dataset: of the report: its users, rejections and logged searches.
        seed: of the choice of requests and of the bootstrap.
    """
    try:
        engine = Engine.open(workspace.folder)
    except (NotTrainedError, ArtefactError) as error:
        return ListFigures(missing=[f"Nothing: {error}"])
    with engine:
        return _Section(engine, dataset, seed).build()


@dataclass(eq=False)
class _Section:
    """Builds the section of one engine."""

    engine: Engine
    dataset: Dataset
    seed: int
    measured: list[Measured] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lists: dict[str, list[ShownList]] = field(default_factory=dict)
    reasons: dict[str, list[Request]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts = ItemFacts(self.engine)
        self.measures = ListMeasures(self.engine, self.facts)
        self.users = choose(self.dataset.users.ids, ASKED, self.seed)
        self.pages = self.facts.choose_items(ASKED, self.seed)

    def build(self) -> ListFigures:
        if not self.facts.kinds:
            self.missing.append(
                "Likeness by attributes and truth of search: no attribute has values that several "
                "items share."
            )
        if not self.users:
            self.missing.append("What known users see: there are no events of users.")
        if self.engine.needs("similar") == "items":
            self._add_similar()
        if self.engine.needs("search") == "query":
            self._add_searches()
        self._add_home()
        suggested, kinds = self.measures.measure_suggested(self.users[:SUGGESTED_TO] or [""])
        self.measured += suggested
        self.measured += [
            self.measures.measure_reasons(name, requests) for name, requests in self.reasons.items()
        ]
        return ListFigures(
            generation=self.engine.generation,
            figures=[ListFigure.of(one, self.seed) for one in self.measured if len(one.values)],
            lists=self.lists,
            suggested=dict(kinds.most_common()),
            missing=self.missing,
        )

    def _add_similar(self) -> None:
        pages, measures = self.pages, self.measures
        self.measured += measures.measure_similar(pages, [""] * len(pages))
        if self.users:
            known = [self.users[row % len(self.users)] for row in range(len(pages))]
            self.measured += measures.measure_similar(pages, known)
        requests = [Request("similar", item_ids=(page,), k=K) for page in pages[:VARIED]]
        self.reasons["of similar items"] = requests
        self.lists["similar"] = [
            self._show(self.facts.title(page), measures.ask("similar", K, item_ids=(page,)))
            for page in pages[:SHOWN_LISTS]
        ]

    def _add_searches(self) -> None:
        measures, queries = self.measures, self._find_queries()
        self.measured += [measures.measure_truth(kind, found) for kind, found in queries.items()]
        # What people typed may tell who they are: it is measured and never shown.
        written = [found for kind, found in queries.items() if kind != TYPED]
        texts = [query.text for query in take_turns(written)][:VARIED]
        texts += map(self.facts.title, self.pages[: VARIED - len(texts)])
        self.measured += measures.measure_changes(texts)
        titles = list(self.dataset.catalogue.titles)
        self.measured.append(measures.measure_gibberish(titles, ASKED // 2, self.seed))
        self.reasons["of searches"] = [Request("search", text=text, k=K) for text in texts]
        self.lists["search"] = [
            self._show(text, measures.ask("search", K, text=text)) for text in texts[:SHOWN_QUERIES]
        ]

    def _find_queries(self) -> dict[str, Sequence[NamedQuery]]:
        """Kind -> queries that name values: made from fields, and typed by people."""
        queries: dict[str, Sequence[NamedQuery]] = dict(write_queries(self.facts, ASKED, self.seed))
        logged = [one.text for one in self.dataset.requests if one.text.strip()]
        typed = read_queries(self.facts, logged, ASKED, self.seed)
        if typed:
            queries[TYPED] = typed
        else:
            self.missing.append(
                f"Truth of what people typed: none of {len(logged):,} searches names a value."
            )
        return queries

    def _add_home(self) -> None:
        users, measures = self.users, self.measures
        if users:
            rejected = find_rejected(self.dataset)
            self.measured += [
                measures.measure_rejected(users, rejected),
                measures.measure_new(users),
            ]
        asked = users[:VARIED] or [""]
        self.reasons["of home"] = [Request("home", user, k=K) for user in asked]
        self.lists["home"] = [
            self._show(self._describe_user(user), measures.ask("home", K, user))
            for user in asked[:SHOWN_LISTS]
        ]

    def _describe_user(self, user_id: str) -> str:
        """The newest choices of a user, by title; never their id, which an erasure removes."""
        chosen = self.engine.chosen(user_id, limit=1_000)
        if not chosen:
            return "Somebody who has chosen nothing"
        titles = [self.facts.title(one.item_id) for one in chosen[:_PAST]]
        return f"After {', '.join(titles)}; {len(chosen):,} in all"

    def _show(self, asked: str, shown: Sequence[str]) -> ShownList:
        return ShownList(asked, [self.facts.title(item) for item in shown])
