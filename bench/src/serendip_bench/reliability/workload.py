"""Operations on the durable parts of a workspace, and what must be there after each of them.

The operations follow from a seed, so how many were acknowledged says what must have survived: the
state after all of them or, as one was running, the state with the next one too, and nothing else.

Usage: python -m serendip_bench.reliability.workload FOLDER SEED OPERATIONS BREAKAGE...
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from serendip.data import Event, Item
from serendip.data.store.store import Store
from serendip.engine.artefacts import generations
from serendip.errors import SerendipError
from serendip_bench.reliability.breakage import BREAKAGES

DATABASE, GENERATIONS, LEDGER = "serendip.db", "generations", "ledger"

_MIX = {
    "events": 60,
    "items": 10,
    "delete": 8,
    "erase": 4,
    "import": 5,
    "pack": 5,
    "scrub": 2,
    "publish": 6,
}
_USERS, _ITEMS = 12, 20
_MOST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class Operation:
    """One write.

    Args:
        kind: see ``apply``.
        name: of the item or user to remove.
    """

    number: int
    kind: str
    events: tuple[Event, ...] = ()
    items: tuple[Item, ...] = ()
    name: str = ""

    def apply(self, folder: Path, store: Store) -> None:
        """Do it; it is acknowledged when this returns."""
        match self.kind:
            case "events":
                store.put_events(self.events)
            case "items":
                store.put_items(self.items)
            case "delete":
                store.delete_item(self.name)
            case "erase":
                store.erase_user(self.name, float(self.number))
            case "import":
                store.import_all(self.items, self.events)
            case "pack":
                store.pack()
            case "scrub":
                store.remove_erased()
            case "publish":
                publish(folder, self.name)


@dataclass(slots=True)
class Contents:
    """What a workspace has; equal to another one if nothing is lost, doubled or halved.

    Args:
        items: id -> title.
        events: id of an event -> its user.
        generation: content of the published generation; empty = none is published.
    """

    items: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    generation: str = ""

    def after(self, operation: Operation) -> Contents:
        """What it has after an operation."""
        items, events = dict(self.items), dict(self.events)
        match operation.kind:
            case "delete":
                items.pop(operation.name, None)
            case "erase":
                events = {name: user for name, user in events.items() if user != operation.name}
            case "import":
                items = {name: title for name, title in items.items() if name[0] != "f"}
                events = {name: user for name, user in events.items() if name[0] != "f"}
        items |= {item.item_id: item.title for item in operation.items}
        events |= {event.event_id: event.user_id for event in operation.events}
        published = operation.name if operation.kind == "publish" else self.generation
        return Contents(items, events, published)

    def difference(self, found: Contents) -> str:
        """How what was found differs, in words; empty = it does not."""
        parts = []
        for name in ("items", "events"):
            mine, theirs = getattr(self, name), getattr(found, name)
            if lost := mine.keys() - theirs.keys():
                parts.append(f"{len(lost)} {name} lost, such as {min(lost)}")
            if more := theirs.keys() - mine.keys():
                parts.append(f"{len(more)} {name} too many, such as {min(more)}")
            if any(theirs[one] != value for one, value in mine.items() if one in theirs):
                parts.append(f"{name} differ")
        if self.generation != found.generation:
            parts.append(f"generation {found.generation!r} instead of {self.generation!r}")
        return "; ".join(parts)


def list_operations(seed: int) -> Iterator[Operation]:
    """An endless workload; the first operations are one of each kind."""
    rng = random.Random(seed)
    first = rng.sample([*_MIX], len(_MIX))
    more = (rng.choices([*_MIX], [*_MIX.values()])[0] for _ in count())
    for number, kind in enumerate(chain(first, more)):
        yield _draw(rng, number, kind)


def _draw(rng: random.Random, number: int, kind: str) -> Operation:
    match kind:
        case "events":
            count = rng.randint(1, _MOST_EVENTS)
            return Operation(number, kind, tuple(_events(rng, number, count, "e")))
        case "items":
            places = rng.sample(range(_ITEMS), 3)
            items = tuple(Item(f"a{place}", f"Title {number}") for place in places)
            return Operation(number, kind, items=items)
        case "delete":
            return Operation(number, kind, name=f"a{rng.randrange(_ITEMS)}")
        case "erase":
            return Operation(number, kind, name=f"u{rng.randrange(_USERS)}")
        case "import":
            items = tuple(Item(f"f{place}", f"Title {number}") for place in range(5))
            events = tuple(_events(rng, number, _MOST_EVENTS, "f"))
            return Operation(number, kind, events, items)
        case _:
            return Operation(number, kind, name=f"{kind} {number}")


def _events(rng: random.Random, number: int, count: int, start: str) -> Iterator[Event]:
    """Events that happen when they are stored; ids of those from files begin with an f."""
    for place in range(count):
        user, item = f"u{rng.randrange(_USERS)}", f"a{rng.randrange(_ITEMS)}"
        yield Event(user, item, number + 0.5, event_id=f"{start}{number}-{place}")


def publish(folder: Path, text: str) -> None:
    """Publish a tiny generation."""

    def fill(building: Path) -> None:
        (building / "part").mkdir()
        (building / "part" / "text.txt").write_text(text)

    generations.publish(folder / GENERATIONS, fill, {})


def read_contents(folder: Path) -> Contents:
    """What a workspace has, read as the service reads it; every checksum is verified.

    Raises:
        SerendipError: something is damaged or missing.
    """
    with closing(Store.open(folder / DATABASE)) as store:
        if damage := store.database.integrity():
            raise ValueError(f"the database is damaged: {damage[0]}")
        tables = store.tables()
    rows = tables.events.select(["event_id", "user_id"]).to_pylist() if len(tables.events) else []
    events = {row["event_id"]: row["user_id"] for row in rows}
    if len(events) < len(rows):
        raise ValueError("an event is there twice")
    text = ""
    if generations.current_name(folder / GENERATIONS):
        current = generations.open_current(folder / GENERATIONS)
        text = (current.folder / "part" / "text.txt").read_text()
    return Contents({item.item_id: item.title for item in tables.items}, events, text)


def find_fault(folder: Path, states: Sequence[Contents]) -> tuple[int, str]:
    """Compare a workspace with the states that it may be in.

    Returns:
        index of its state, and "" if it is in one of them; else -1 and how it differs.
    """
    try:
        found = read_contents(folder)
    except (SerendipError, OSError, ValueError) as error:
        return -1, f"{type(error).__name__}: {error}"
    differences = [state.difference(found) for state in states]
    if "" in differences:
        return differences.index(""), ""
    return -1, differences[0]


def work(
    folder: Path,
    operations: Iterator[Operation],
    acknowledge: Callable[[Operation], Any],
    early: bool = False,
) -> None:
    """Do operations one after the other, and acknowledge each.

    Args:
        folder: of the workspace, which has a database.
        operations: to do.
        acknowledge: called after each.
        early: whether it is called before each instead, which is wrong.
    """
    with closing(Store.open(folder / DATABASE)) as store:
        for operation in operations:
            if early:
                acknowledge(operation)
            operation.apply(folder, store)
            if not early:
                acknowledge(operation)


def _mark(ledger: int, operation: Operation) -> None:
    os.write(ledger, b".")


def main() -> None:
    """Work in one folder per variant, with a byte in its ledger for each acknowledged operation."""
    root, seed, count, *names = sys.argv[1:]
    for name in names:
        folder = Path(root, name)
        handle = os.open(folder / LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with BREAKAGES[name]():
            Store.create(folder / DATABASE).close()
            os.write(handle, b".")  # the database is there
            operations = islice(list_operations(int(seed)), int(count))
            work(folder, operations, partial(_mark, handle))
        os.close(handle)


if __name__ == "__main__":
    main()
