"""The section "What people see" of a report: lists of the published generation, and measures."""

from __future__ import annotations

from collections.abc import Sequence

from serendip.data.dataset import Dataset
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, NotTrainedError
from serendip.evaluate.lists import ListFigure, ListFigures, Measured, ShownList
from serendip.jobs.lists.item_facts import ItemFacts, choose
from serendip.jobs.lists.measures import K, ListMeasures, find_rejected
from serendip.jobs.lists.queries import read_queries, write_queries
from serendip.jobs.surface_quality.sample import take_turns

ASKED = 60

VARIED = 30
"""Lists of a surface whose reasons are looked at."""

TYPED = "typed by people"
SUGGESTED_TO = 24
SHOWN_LISTS, SHOWN_QUERIES = 10, 20
_PAST = 5
"""Titles that tell whom a list of home is for."""


def measure_lists(workspace: Workspace, dataset: Dataset, seed: int) -> ListFigures:
    """Ask the published generation; without one nothing is measured.

    The users, rejections and logged searches are those of the report; the seed is of the choice of
    requests and of the bootstrap.
    """
    try:
        engine = Engine.open(workspace.folder)
    except (NotTrainedError, ArtefactError) as error:
        return ListFigures(missing=[f"Nothing: {error}"])
    with engine:
        return _Section(engine, dataset, seed).build()


class _Section:
    def __init__(self, engine: Engine, dataset: Dataset, seed: int) -> None:
        self.engine, self.dataset, self.seed = engine, dataset, seed
        self.facts = ItemFacts(engine)
        self.measures = ListMeasures(engine, self.facts)
        self.users = choose(dataset.users.ids, ASKED, seed)
        self.pages = self.facts.choose_items(ASKED, seed)
        self.measured: list[Measured] = []
        self.missing: list[str] = []
        self.lists: dict[str, list[ShownList]] = {}
        self.reasons: dict[str, list[Request]] = {}

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
        figures = [ListFigure.of(one, self.seed) for one in self.measured if len(one.values)]
        suggested_kinds = dict(kinds.most_common())
        return ListFigures(
            self.engine.generation, figures, self.lists, suggested_kinds, self.missing
        )

    def _add_similar(self) -> None:
        pages, measures = self.pages, self.measures
        self.measured += measures.measure_similar(pages, [""] * len(pages))
        if self.users:
            known = [self.users[row % len(self.users)] for row in range(len(pages))]
            self.measured += measures.measure_similar(pages, known)
        requests = [Request("similar", item_ids=(page,), k=K) for page in pages[:VARIED]]
        asked = [self.facts.title(page) for page in pages[:SHOWN_LISTS]]
        self._add_lists("similar", "of similar items", requests, asked)

    def _add_searches(self) -> None:
        measures = self.measures
        written = write_queries(self.facts, ASKED, self.seed)
        logged = [one.text for one in self.dataset.requests if one.text.strip()]
        typed = read_queries(self.facts, logged, ASKED, self.seed)
        if not typed:
            self.missing.append(
                f"Truth of what people typed: none of {len(logged):,} searches names a value."
            )
        named = written | ({TYPED: typed} if typed else {})
        self.measured += [measures.measure_truth(kind, found) for kind, found in named.items()]
        titles = list(self.dataset.catalogue.titles)
        self.measured.append(measures.measure_gibberish(titles, ASKED // 2, self.seed))
        # What people typed may tell who they are: it is measured and never shown.
        texts = [query.text for query in take_turns(list(written.values()))][:VARIED]
        texts += map(self.facts.title, self.pages[: VARIED - len(texts)])
        requests = [Request("search", text=text, k=K) for text in texts]
        self._add_lists("search", "of searches", requests, texts[:SHOWN_QUERIES])

    def _add_home(self) -> None:
        users, measures = self.users, self.measures
        if users:
            rejected = find_rejected(self.dataset)
            self.measured += [
                measures.measure_rejected(users, rejected),
                measures.measure_new(users),
            ]
        requests = [Request("home", user, k=K) for user in users[:VARIED] or [""]]
        asked = [self._describe_user(request.user_id) for request in requests[:SHOWN_LISTS]]
        self._add_lists("home", "of home", requests, asked)

    def _add_lists(
        self, surface: str, name: str, requests: list[Request], asked: Sequence[str]
    ) -> None:
        """Show the lists of the first requests, and look at the reasons of all."""
        self.reasons[name] = requests
        lists = map(self.measures.list_ids, requests[: len(asked)])
        self.lists[surface] = [
            ShownList(told, [self.facts.title(item) for item in ids])
            for told, ids in zip(asked, lists, strict=True)
        ]

    def _describe_user(self, user_id: str) -> str:
        """The newest choices of a user, by title; never their id, which an erasure removes."""
        chosen = self.engine.chosen(user_id, limit=1_000)
        if not chosen:
            return "Somebody who has chosen nothing"
        titles = [self.facts.title(one.item_id) for one in chosen[:_PAST]]
        return f"After {', '.join(titles)}; {len(chosen):,} in all"
