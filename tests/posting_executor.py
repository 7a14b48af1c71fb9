"""An executor whose tasks run while others write to the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from serendip.data.events.event import Event
from serendip.data.items.catalogue import Item
from serendip.data.users.user import User
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.jobs.exports import engine_snapshot
from serendip.runtime.executor import LocalExecutor, Result, Task

NOW = 1_700_000_000.0


class PostingExecutor(LocalExecutor):
    """Runs tasks one after the other in this process, and writes to a shop before each.

    Attributes:
        tasks: number of those that ran.
    """

    def __init__(self, shop: Path) -> None:
        super().__init__(2)
        self._shop, self.tasks = shop, 0

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        for task in tasks:
            self.tasks += 1
            write_to(self._shop, self.tasks)
            engine_snapshot._open_once.cache_clear()
            yield work(task)


def write_to(shop: Path, number: int) -> None:
    """Post events of all users, an item, attributes, and delete an item."""
    with closing(Engine.open(shop)) as engine:
        users = [user for user, _ in engine.users(1_000)]
        best = engine.recommend(Request("home", users[-1], k=1)).items[0].item_id
        later = [
            Event(f"later{one}", "i5", NOW + number, "click", query=f"query {number}")
            for one in range(100)
        ]
        engine.add_events([Event(user, best, NOW + number, "click") for user in users] + later)
        engine.add_items([Item("i3", f"Title {number}"), Item(f"new{number}", "A new item")])
        engine.put_user(User(users[0], {"country": "NL", "plan": str(number)}))
        engine.delete_item(f"i{number + 7}")
