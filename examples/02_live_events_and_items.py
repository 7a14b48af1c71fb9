"""What happens without training: an event changes the next answer, a new item is found at once.

Usage: python examples/02_live_events_and_items.py WORKSPACE
The workspace is changed: one visitor, and one item that is deleted again.
"""

from __future__ import annotations

import sys
import time

from serendip import Engine, Event, Item, Request


def main(workspace: str) -> None:
    """Post, look, delete, look again."""
    engine = Engine.open(workspace)
    visitor = f"visitor-{time.time_ns()}"
    request = Request("home", visitor, k=5)
    before = [item.item_id for item in engine.recommend(request).items]
    engine.add_events([Event(visitor, before[-1], time.time(), "like")])
    after = [item.item_id for item in engine.recommend(request).items]
    print(f"before the like: {before}\nafter the like:  {after}")

    engine.add_items([Item("example-1", "An Example That Nobody Has Seen Yet")])
    found = engine.search("example that nobody has seen", k=1).items[0]
    print(f"found: {found.item_id}, semantic ID {engine.semantic_id('example-1')}")
    engine.delete_item("example-1")
    found_again = engine.search("example that nobody has seen", k=100)
    print(f"after its deletion: {'example-1' in [one.item_id for one in found_again.items]}")
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
