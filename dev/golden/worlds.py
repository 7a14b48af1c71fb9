"""The files of small shops, the same bytes from the same seed: items, events, labels.

Columns have names that `serendip init` guesses, but for those of ``MAPPED_COLUMNS``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

KINDS = {
    "lamp": ("Lighting", "warm light for long evenings"),
    "lantern": ("Lighting", "warm light for the garden path"),
    "chair": ("Seating", "soft seat and straight back"),
    "stool": ("Seating", "stands where there is little room"),
    "sofa": ("Seating", "soft seat for three people"),
    "table": ("Tables", "wide top for the whole family"),
    "desk": ("Tables", "wide top and two drawers"),
    "shelf": ("Storage", "room for books and boxes"),
    "cabinet": ("Storage", "two drawers and a door"),
    "kettle": ("Kitchen", "boils water without noise"),
    "teapot": ("Kitchen", "keeps tea warm for an hour"),
    "rug": ("Textiles", "woven by hand"),
}
COLOURS = ("red", "blue", "green", "white", "black")
MATERIALS = ("oak", "steel", "wool", "glass")
BRANDS = ("Alva", "Birka", "Corvo", "Dunes", "Elm Café", "Fjord", "Grove")
ROOMS = ("kitchen", "office", "bedroom", "garden")
COUNTRIES = ("KR", "DE", "FR")
OTHER_WORDS = {"sofa": "settee", "lamp": "luminaire", "rug": "carpet"}
"""What some people type first; nothing has these words."""

NUM_ITEMS, NUM_USERS, VISITS = 216, 120, 18
FOREIGN = (
    ("빨간 책상 램프", "lamp"),
    ("파란 나무 의자", "chair"),
    ("赤い木の椅子", "chair"),
    ("青いガラスの花瓶", "teapot"),
)
FIRST_DAY = 1_600_000_000
SHOWN = 4

ITEM_COLUMNS = (
    *("item_id", "title", "description", "category", "brand", "colour", "price", "year"),
    *("countries", "bid", "available_from"),
)
EVENT_COLUMNS = (
    *("customer", "item_id", "timestamp", "action", "value", "typed", "request_id", "position"),
    *("surface", "session_id", "event_id"),
)
MAPPED_COLUMNS = ("events.query=typed", "events.user_id=customer")

Row = dict[str, Any]


def shop_items() -> list[Row]:
    """A catalogue: kinds in turn, colours and materials beside one another."""
    rows = [_item(number) for number in range(NUM_ITEMS)]
    rows[7]["title"] = rows[19]["title"]
    for place, (title, kind) in enumerate(FOREIGN):
        rows.append({**_item(NUM_ITEMS + place, kind), "title": title, "description": ""})
    return rows


def _item(number: int, kind: str = "") -> Row:
    kind = kind or list(KINDS)[number % len(KINDS)]
    colour = COLOURS[number // len(KINDS) % len(COLOURS)]
    material, room = MATERIALS[number * 7 // 5 % 4], ROOMS[number // 3 % 4]
    family, phrase = KINDS[kind]
    sold = [one for place, one in enumerate(COUNTRIES) if (number + place) % 3]
    comes = "2100-01-01" if number % 40 == 39 else "2019-03-01" if number % 2 else ""
    about = f"A {colour} {kind} of {material} for the {room}: {phrase}."
    return {
        "item_id": f"p{number}",
        "title": f"{colour.title()} {material} {kind} {BRANDS[number * 5 % 7].split()[0]} {number}",
        "description": "" if number % 5 == 3 else about,
        "category": f"Home|{family}",
        "brand": BRANDS[number * 5 % 7],
        "colour": colour,
        "price": f"{9.5 + 1.25 * (number * 37 % 90):.2f}",
        "year": 1990 + number * 3 % 35,
        "countries": "|".join(sold),
        "bid": f"{0.05 * (number % 13):.2f}" if number % 11 == 0 else "",
        "available_from": comes,
    }


def changed_items() -> list[Row]:
    """The catalogue a day later: three are new, one has other words, one is gone."""
    rows = shop_items()
    rows[4] = {**rows[4], "title": "Black steel kettle Dune", "category": "Home|Kitchen"}
    del rows[-1]
    return [*rows, *(_item(number) for number in (300, 301, 302))]


class Visits:
    """Everything that the customers of a shop did, in order of time."""

    def __init__(self, items: Sequence[Row], seed: int = 0) -> None:
        self._rng, self._items = Random(seed), items
        self._rows: list[Row] = []
        self._requests = 0
        self._kind_of = {row["item_id"]: kind for row in items for kind in _kinds_in(row)}

    def rows(self, users: int = NUM_USERS, visits: int = VISITS) -> list[Row]:
        """All events; a visit a day, with a search, a feed or a look at what is like an item."""
        for user in range(users):
            start = FIRST_DAY + self._rng.randrange(200 * 86_400)
            for visit in range(visits):
                self._visit(user, start + visit * 86_400 * 2, f"s{user}-{visit}")
        self._rows.sort(key=lambda row: (row["timestamp"], row["event_id"]))
        return self._rows

    def _visit(self, user: int, now: int, session: str) -> None:
        kind = self._liked_kind(user)
        where = self._rng.random()
        if where < 0.12:
            self._shown(user, now, session, "home", "", self._items_of(kind))
            return
        if where < 0.2:
            self._chip(user, now, session, f"{COLOURS[user % 5]} {kind}")
            now += 60
        other = OTHER_WORDS.get(kind)
        if other and self._rng.random() < 0.35:
            self._row(user, now, session, "impression", typed=other, request=self._request())
            now += 40
        text = self._text(user, kind, now)
        self._shown(user, now, session, "search", text, self._items_of(kind, text))

    def _liked_kind(self, user: int) -> str:
        kinds = list(KINDS)
        near = (user + self._rng.choice((0, 0, 0, 1, 1, 2))) % len(kinds)
        return kinds[near if self._rng.random() < 0.85 else self._rng.randrange(len(kinds))]

    def _text(self, user: int, kind: str, now: int) -> str:
        """What is typed; later also words that nobody has typed before."""
        colour, material = COLOURS[user % 5], self._rng.choice(MATERIALS)
        texts = [kind, kind, f"{colour} {kind}", f"{material} {kind}", f"{kind} {colour}"]
        if now > FIRST_DAY + 205 * 86_400:
            texts += [f"{kind} for the {self._rng.choice(ROOMS)}", f"{colour} {material} {kind}"]
            texts.append(f"{self._rng.choice(BRANDS)} {kind}")
        return self._rng.choice(texts)

    def _items_of(self, kind: str, text: str = "") -> list[Row]:
        wanted = [word for word in text.split() if word in (*COLOURS, *MATERIALS)]
        rows = [row for row in self._items if self._kind_of.get(row["item_id"]) == kind]
        exact = [row for row in rows if all(word in row["title"].lower() for word in wanted)]
        return exact or rows

    def _shown(
        self, user: int, now: int, session: str, surface: str, text: str, found: list[Row]
    ) -> None:
        """Some of what was found is shown, the one in the favourite colour is chosen."""
        rows = self._rng.sample(found, min(SHOWN, len(found)))
        request = self._request()
        fields = {"typed": text, "request": request, "surface": surface}
        for place, row in enumerate(rows):
            item, moment = row["item_id"], now + place
            self._row(user, moment, session, "impression", item, position=place, **fields)
        if self._rng.random() < 0.06:
            return
        best = max(rows, key=lambda row: (row["colour"] == COLOURS[user % 5], row["item_id"]))
        place = rows.index(best)
        self._row(user, now + 9, session, "click", best["item_id"], position=place, **fields)
        if self._rng.random() < 0.3:
            action = self._rng.choice(("like", "purchase"))
            self._row(user, now + 30, session, action, best["item_id"], position=place, **fields)

    def _chip(self, user: int, now: int, session: str, text: str) -> None:
        """Suggested queries are seen, and sometimes clicked."""
        request = self._request()
        others = self._rng.sample(list(KINDS), 3)
        for place, one in enumerate([text, *others]):
            fields: Row = {
                "typed": one,
                "request": request,
                "surface": "suggest",
                "position": place,
            }
            self._row(user, now + place, session, "impression", value=0.5, **fields)
        if self._rng.random() < 0.5:
            fields = {"typed": text, "request": request, "surface": "suggest", "position": 0}
            self._row(user, now + 8, session, "click", value=0.5, **fields)

    def _request(self) -> str:
        self._requests += 1
        return f"r{self._requests}"

    def _row(
        self, user: int, now: int, session: str, action: str, item: str = "", **more: Any
    ) -> None:
        self._rows.append(
            {
                "customer": f"u{user}",
                "item_id": item,
                "timestamp": now,
                "action": action,
                "value": more.get("value", ""),
                "typed": more["typed"],
                "request_id": more["request"],
                "position": more.get("position", ""),
                "surface": more.get("surface", "search"),
                "session_id": session,
                "event_id": f"e{len(self._rows):06d}",
            }
        )


def _kinds_in(row: Row) -> list[str]:
    words = str(row["title"]).lower().split()
    return [kind for kind in KINDS if kind in words]


def write_shop(folder: Path) -> None:
    """items.csv, later.csv, events.csv, and labels for a relevance model."""
    items = shop_items()
    write_csv(folder / "items.csv", ITEM_COLUMNS, items)
    write_csv(folder / "later.csv", ITEM_COLUMNS, changed_items())
    write_csv(folder / "events.csv", EVENT_COLUMNS, Visits(items).rows())
    write_labels(folder, items)


def write_labels(folder: Path, items: Sequence[Row]) -> None:
    """Labels of a person and of one who errs, gold of other queries, labels of a model, pairs."""
    kinds = list(KINDS)
    learned = [f"{COLOURS[n % 5]} {kinds[n % 12]}" for n in range(60)]
    gold = [f"{MATERIALS[n % 4]} {kinds[n % 12]} {ROOMS[n // 12]}" for n in range(48)]
    columns = ("query", "item_id", "label")
    rows = _labels(learned, items, 9)
    wrong = [{**row, "label": "good"} if n % 17 == 0 else row for n, row in enumerate(rows)]
    write_csv(folder / "labels.csv", columns, rows)
    write_csv(folder / "other-labels.csv", columns, wrong)
    write_csv(folder / "gold.csv", columns, _labels(gold, items, 11))
    write_csv(folder / "pairs.csv", columns[:2], [_pair(row) for row in rows[:12]])
    by_model = [{**row, "model": "some-model"} for row in _labels(gold, items, 11)]
    write_csv(folder / "model-labels.csv", (*columns, "model"), by_model)


def _labels(queries: Sequence[str], items: Sequence[Row], step: int) -> list[Row]:
    """Items of another family than the query's are irrelevant."""
    rows = []
    for place, query in enumerate(queries):
        kind = next(word for word in query.split() if word in KINDS)
        for item in items[place % step : NUM_ITEMS : step]:
            is_good = KINDS[kind][0] in item["category"]
            label = "good" if is_good else "bad"
            rows.append({"query": query, "item_id": item["item_id"], "label": label})
    return rows


def _pair(row: Row) -> Row:
    return {name: row[name] for name in ("query", "item_id")}


def write_bare(folder: Path) -> None:
    """A catalogue without events, as JSON lines; every third item has no description."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {name: row[name] for name in ("item_id", "title", "description", "brand", "price")}
        for row in shop_items()[::5]
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "bare.jsonl").write_text(text, encoding="utf-8")


def write_small(folder: Path) -> None:
    """A shop with too few searches for the ranker to order them."""
    items = shop_items()[:96]
    write_csv(folder / "small-items.csv", ITEM_COLUMNS, items)
    write_csv(folder / "small-events.csv", EVENT_COLUMNS, Visits(items, 1).rows(24, 6))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns))
        writer.writeheader()
        writer.writerows(rows)
