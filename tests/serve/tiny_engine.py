"""A whole engine in memory: films that share genres are alike, the liked ones lead the feed."""

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from serendip.content.encoders.media_files import FileProblem
from serendip.data import ActionRules, Event, Item
from serendip.data.events.event_table import tabulate_events
from serendip.data.items.attributes import is_code_name
from serendip.data.rules import NO_RULES, Rule
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import ErasurePlace, ErasureReceipt
from serendip.engine.config.models import ModelsConfig
from serendip.engine.explanations.labels import Labels
from serendip.engine.fallback import CONTENT
from serendip.engine.figures import NOTHING, Figures, count_events
from serendip.engine.item_pictures import ItemPictures
from serendip.engine.listing import Facet
from serendip.engine.request import (
    Answer,
    AnswerItem,
    ChosenItem,
    Evidence,
    Explanation,
    ItemFile,
    Request,
    Suggestion,
    Suggestions,
)
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, NOT_A_SURFACE
from serendip.errors import DataError, SerendipError, UnknownItemError, UnsupportedError
from serendip.models.retriever.config import UnifiedConfig

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller")


def film(number: int) -> Item:
    """Film number n: title, year and two genres that follow from n."""
    genres = (GENRES[number % 6], GENRES[(number // 2 + 1) % 6])
    return Item(
        f"f{number}",
        f"Film {number:03d}",
        f"A story about the number {number}.",
        {"year": float(1950 + number % 70), "genres": tuple(dict.fromkeys(genres))},
    )


TinyStore = list[tuple[str, Item | None]]
"""Every change of the items, oldest first: (id, item), with None for a deletion."""


NO_PICTURES = ItemPictures("", Path(), 0)
NO_REPORT = Path("/nonexistent")


def poster_pictures(folder: Path) -> ItemPictures:
    return ItemPictures("poster", folder, 100_000, ("cdn.example.com",))


class TinyEngine:
    """Keeps everything in dicts; fast, exact and small enough to predict.

    Engines over one ``store`` read each other's items when they write and in ``catch_up``.
    """

    def __init__(
        self,
        items: Sequence[Item] | None = None,
        generation: str = "gen-1",
        store: TinyStore | None = None,
        pictures: ItemPictures = NO_PICTURES,
        report: Path = NO_REPORT,
    ) -> None:
        self.generation = generation
        self.pictures = pictures
        self.report = report
        self.rules = NO_RULES
        self._store: TinyStore = [] if store is None else store
        self._version = 0
        self._lock = threading.Lock()
        chosen = [film(number) for number in range(60)] if items is None else items
        self._items = {item.item_id: item for item in chosen}
        self._events: list[Event] = []
        self._event_ids: set[str] = set()
        self._users: dict[str, User] = {}
        self._answers = 0
        self.is_closed = False
        self.units = {"cost": "EUR"}
        self.private = frozenset[str]()
        self.labels = Labels.of(ModelsConfig().build(UnifiedConfig()), DEFAULT_SURFACES)
        self.catch_up()

    @property
    def attribute_names(self) -> Sequence[str]:
        return list(
            dict.fromkeys(name for item in self._items.values() for name in item.attributes)
        )

    def sort_names(self, surface: str) -> Sequence[str]:
        self.needs(surface)
        return ("year",)

    def is_code(self, attribute: str) -> bool:
        return is_code_name(attribute)

    def is_public(self, attribute: str) -> bool:
        return attribute not in self.private

    def recommend(self, request: Request) -> Answer:
        if self.needs(request.surface) == "query":
            rules = self.rules.by_id.values()
            sent = (str(rule.value) for rule in rules if request.text in rule.queries)
            return replace(self._search(request), redirect=next(sent, ""))
        if request.surface == "similar":
            return self._similar(request)
        context = [self._known(item_id) for item_id in request.item_ids]
        seen = [event.item_id for event in self._did(request.user_id)]
        context += [self._items[item_id] for item_id in seen if item_id in self._items]
        taste = Counter(genre for item in context for genre in _genres(item))
        scores = {
            item.item_id: float(sum(taste[genre] for genre in _genres(item)))
            for item in self._items.values()
            if item.item_id not in seen and item.item_id not in request.item_ids
        }
        return self._answer(request, scores, "Shares genres with your history")

    def fall_back(self, request: Request, rung: str = CONTENT) -> Answer:
        ids = sorted(self._items)[: request.k]
        entries = tuple(AnswerItem(one, self._items[one].title or one, 0.0) for one in ids)
        return Answer(*("r0", self.generation, request.surface, entries), degraded=("personal",))

    def needs(self, surface: str) -> Literal["", "query", "items"]:
        if surface not in DEFAULT_SURFACES:
            raise UnsupportedError(
                f"surface {surface!r} is not configured.", f"Use one of: {list(DEFAULT_SURFACES)}."
            )
        return DEFAULT_SURFACES[surface].needs

    def put_rules(self, rules: Sequence[Rule], removed: Sequence[str] = ()) -> list[str]:
        new = {**dict.fromkeys(removed), **{rule.rule_id: rule for rule in rules}}
        changed = [name for name in new if self.rules.by_id.get(name) != new[name]]
        self.rules = self.rules.changed(new, self.rules.version + len(changed))
        return changed

    def preview(self, request: Request, rules: Sequence[Rule]) -> tuple[Answer, Answer]:
        hidden = {item for rule in rules if rule.action == "hide" for item in rule.items}
        answer = self.recommend(request)
        kept = tuple(item for item in answer.items if item.item_id not in hidden)
        return replace(answer, items=kept), answer

    def suggest(self, request: Request) -> Suggestions:
        text, k, after = request.text, request.k, request.after
        start = text.casefold().strip()
        genres = [Suggestion(g, "attribute") for g in GENRES if g.casefold().startswith(start)]
        if not start:
            genres = [genre for genre in genres if genre.text.casefold() != after.casefold()]
            return Suggestions("s1", self.generation, tuple(genres[:k] if self._items else ()))
        titles = [
            Suggestion(item.title, "title", item.item_id)
            for item in self._items.values()
            if item.title.casefold().startswith(start)
        ]
        return Suggestions("s1", self.generation, tuple((genres + titles)[:k]))

    def explain(self, request: Request, item_id: str) -> Explanation:
        self.needs(request.surface)
        item = self._known(item_id)
        anchors = [event.item_id for event in self.history(request.user_id)]
        evidence = [
            Evidence("content", f"Similar to {self._items[a].title}", 0.5, a)
            for a in dict.fromkeys(anchors)
            if a in self._items and set(_genres(self._items[a])) & set(_genres(item))
        ]
        trace = {"sources": len(self._items), "filters": len(self._items) - 1, "selected": 10}
        codes = "-".join(map(str, self.semantic_id(item_id)))
        parts = {"content": 0.5, "popularity": 0.25, "nothing": float("nan")}
        return Explanation(self.generation, item_id, tuple(evidence[:3]), parts, codes, trace, 0)

    def add_events(self, events: Sequence[Event]) -> int:
        for surface in {event.surface for event in events} - {"", NOT_A_SURFACE}:
            self.needs(surface)
        with self._lock:
            new = [e for e in events if not e.event_id or e.event_id not in self._event_ids]
            self._event_ids.update(event.event_id for event in new)
            self._events += new
        return len(new)

    def add_event_groups(self, groups: Iterable[Sequence[Event]]) -> list[int | SerendipError]:
        stored = list[int | SerendipError]()
        for events in groups:
            try:
                stored.append(self.add_events(events))
            except UnsupportedError as error:
                stored.append(error)
        return stored

    def add_items(self, items: Sequence[Item]) -> int:
        with self._lock:
            new = sum(item.item_id not in self._items for item in items)
            self._store += [(item.item_id, item) for item in items]
            self._read_store()
        return new

    def change_item(self, item_id: str, change: Callable[[Item], Item]) -> Item | None:
        with self._lock:
            if item_id in self._items:
                self._store.append((item_id, change(self._items[item_id])))
                self._read_store()
        return self._items.get(item_id)

    def list_items(self, after: str, limit: int) -> tuple[list[Item], str]:
        ids = sorted(item_id for item_id in self._items if item_id > after)[:limit]
        return [self._items[one] for one in ids], ids[-1] if len(ids) == limit else ""

    def find_file_problems(self, items: Sequence[Item]) -> list[FileProblem]:
        names = [(item.item_id, item.field_text("poster")) for item in items]
        return [
            FileProblem(name, "poster", f"{file!r} is no file.") for name, file in names if file
        ]

    def files(self, item: Item) -> dict[str, ItemFile]:
        file = item.field_text("poster")
        return {"image": ItemFile("left out", f"{file!r} is no file.")} if file else {}

    def delete_item(self, item_id: str) -> bool:
        with self._lock:
            had = item_id in self._items
            self._store.append((item_id, None))
            self._read_store()
        return had

    def erase_user(self, user_id: str) -> ErasureReceipt:
        with self._lock:
            count = sum(event.user_id == user_id for event in self._events)
            self._events = [event for event in self._events if event.user_id != user_id]
            self._users.pop(user_id, None)
        places = (
            ErasurePlace("answers", "erased", "no worker uses events or attributes any more"),
            ErasurePlace("generations", "pending", "gen-1 learned before"),
        )
        return ErasureReceipt("user", "0" * 64, "2026-01-01T00:00:00+00:00", count, 0, places)

    def catch_up(self) -> None:
        with self._lock:
            self._read_store()

    def work_beside(self) -> None:
        """Nothing is to be done."""

    def read_items(self) -> None:
        self.catch_up()

    @property
    def item_version(self) -> int:
        return self._version

    def _read_store(self) -> None:
        items = dict(self._items)
        changes = self._store[self._version :]
        for item_id, item in changes:
            if item is None:
                items.pop(item_id, None)
            else:
                items[item_id] = item
        self._items, self._version = items, self._version + len(changes)

    def unknown_items(self, item_ids: Iterable[str]) -> list[str]:
        return [name for name in dict.fromkeys(item_ids) if name not in self._items]

    def item(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    def semantic_id(self, item_id: str) -> tuple[int, ...]:
        item = self._items.get(item_id)
        if item is None:
            return ()
        genres = _genres(item) or ("none",)
        levels = (genres[0], genres[-1], item_id)
        return tuple(zlib.crc32(level.encode("utf-8", "replace")) % 64 for level in levels)

    def code_label(self, item_id: str) -> str:
        item = self._items.get(item_id)
        return ", ".join(_genres(item)) if item else ""

    def users(self, limit: int = 50) -> list[tuple[str, int]]:
        did = Counter(e.user_id for e in self._events if e.action != "impression")
        return did.most_common(limit)

    def history(self, user_id: str, limit: int = 50) -> list[Event]:
        return self._did(user_id)[::-1][:limit]

    def user(self, user_id: str) -> User:
        return self._users.get(user_id, User(user_id))

    def put_users(self, users: Sequence[User]) -> None:
        self._users |= {user.user_id: user for user in users}

    def merge_user(self, visitor_id: str, user_id: str) -> int:
        merged = [replace(one, user_id=user_id) for one in self.history(visitor_id)]
        return self.add_events(merged)

    def figures(self, days: float, most: int) -> Figures:
        found, shown = count_events(tabulate_events(self._events), ActionRules(), most)
        total, *_ = [*found["total"], NOTHING]
        groups = found["surfaces"], found["queries"], found["items"]
        return Figures(0.0, total, *groups, len(shown) / len(self._items), None)

    def change_user(self, user_id: str, change: Callable[[User], User]) -> User:
        with self._lock:
            self._users[user_id] = change(self.user(user_id))
        return self._users[user_id]

    def chosen(self, user_id: str, limit: int = 50) -> list[ChosenItem]:
        rules, liked = ActionRules(), {}
        for event in self.history(user_id):
            is_like = rules.is_like(event.action, event.value)
            if rules.is_interest(event.action, event.value) and event.item_id in self._items:
                liked[event.item_id] = liked.get(event.item_id, False) or is_like
        return [ChosenItem(item_id, is_like) for item_id, is_like in liked.items()][:limit]

    def _did(self, user_id: str) -> list[Event]:
        return [e for e in self._events if e.user_id == user_id and e.action != "impression"]

    def stats(self) -> dict[str, int | float | str]:
        counts = {"items": len(self._items), "events": len(self._events)}
        return {"generation": self.generation, **counts}

    def storage_problem(self) -> str:
        return ""

    def close(self) -> None:
        self.is_closed = True

    def _known(self, item_id: str) -> Item:
        if item_id not in self._items:
            raise UnknownItemError(f"item {item_id!r} is not in the catalogue.")
        return self._items[item_id]

    def _search(self, request: Request) -> Answer:
        words = request.text.casefold().split()
        scores = {
            item.item_id: float(sum(word in _words(item) for word in words))
            for item in self._items.values()
        }
        matches = {item_id: score for item_id, score in scores.items() if score > 0}
        return self._answer(request, matches, f"Matches “{request.text}”")

    def _similar(self, request: Request) -> Answer:
        (item_id,) = request.item_ids
        genres = set(_genres(self._known(item_id)))
        scores = {
            item.item_id: float(len(genres & set(_genres(item))))
            for item in self._items.values()
            if item.item_id != item_id
        }
        return self._answer(request, scores, "Shares genres")

    def _answer(self, request: Request, scores: dict[str, float], reason: str) -> Answer:
        cursor, k = request.cursor, request.k
        if cursor and not cursor.isdecimal():
            raise DataError(f"cursor {cursor!r} is not valid.")
        first = int(cursor[:6] or 0)
        order = sorted(scores, key=lambda item_id: (-scores[item_id], item_id))
        if request.sort:
            order.sort(key=self._year, reverse=request.sort.startswith("-"))
        items = tuple(
            AnswerItem(
                *(i, self._items[i].title or i, scores[i]),
                {"match": scores[i]} if request.parts else {},
                reason if scores[i] else "",
                attributes=self._items[i].fields(request.fields),
            )
            for i in order[first : first + k]
        )
        self._answers += 1
        following = str(first + k) if first + k < len(order) else ""
        name = f"r{self._answers}"
        years = [self._year(item_id) for item_id in order]
        facets = {"year": Facet({}, min(years), max(years))} if years and request.facets else {}
        shown = name, self.generation, request.surface, items, following
        return Answer(*shown, total=len(order), is_exact=True, facets=facets)

    def _year(self, item_id: str) -> float:
        return float(str(self._items[item_id].attributes.get("year", 0)))


def _genres(item: Item) -> tuple[str, ...]:
    value = item.attributes.get("genres", ())
    return value if isinstance(value, tuple) else ()


def _words(item: Item) -> set[str]:
    return set(f"{item.title} {' '.join(_genres(item))}".casefold().split())
