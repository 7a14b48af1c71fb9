"""Search, feed and similar items from a published workspace.

Usage: python examples/01_search_and_feed.py WORKSPACE [USER]      (after `make demo`: demo)
"""

from __future__ import annotations

import sys

from serendip import Answer, Engine, Request


def show(engine: Engine, heading: str, answer: Answer) -> None:
    """Print an answer with its reasons."""
    print(f"\n{heading}")
    for item in answer.items:
        found = engine.item(item.item_id)
        print(f"  {found.title if found else item.item_id:<44} {item.reason}")


def main(workspace: str, user: str = "") -> None:
    """Ask three surfaces."""
    engine = Engine.open(workspace)
    user = user or next((name for name, _ in engine.users(1)), "")
    feed = engine.recommend(Request("home", user, k=5))
    show(engine, f"For {user or 'a new visitor'}", feed)
    first = feed.items[0].item_id
    title = engine.item(first)
    show(engine, f"Similar to {title.title if title else first}", engine.similar(first, k=5))
    words = title.title if title else first
    show(engine, f"Searching for {words!r}", engine.search(words, user_id=user, k=5))
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
