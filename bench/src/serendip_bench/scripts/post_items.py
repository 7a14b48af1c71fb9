"""Cost of posting items, one by one, to an engine.

Usage: python -m serendip_bench.scripts.post_items WORKSPACE [--items N] [--posts 10000]
           [--json FILE]

With ``--items`` a workspace of that many items is made first, without training (see
``serendip_bench.large_state``). Prints CPU milliseconds per post, the text encoder and the database
included, of the first and of every further hundredth of the posts, and of the text encoder alone;
then those of a change of an item, of a deletion, and of the first and the second reading of an item
by another engine after a post. How far it is goes to stderr, so that a run that is ended early has
said something. Posts go to the store of the workspace: use a copy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

from serendip.content.encoders.text import open_encoder
from serendip.data.items.catalogue import Item
from serendip.engine.engine import Engine
from serendip_bench.large_state import shop_items, write_workspace

_OTHERS = 200
"""Changes and deletions that are measured."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.items:
        write_workspace(options.workspace, options.items)
    engine = Engine.open(options.workspace)
    result = measure(engine, options.posts)
    reader = Engine.open(options.workspace)
    result |= measure_reads(engine, reader)
    reader.close()
    engine.close()
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def measure(engine: Engine, posts: int) -> dict[str, Any]:
    """CPU milliseconds of posts, changes, deletions and searches."""
    items = list(shop_items(posts, seed=1, prefix="new"))
    again = list(shop_items(posts, seed=2, prefix="new"))[:_OTHERS]
    encoder = open_encoder(engine.settings.content)
    engine.search("warm up")
    first = _cpu_ms(lambda: engine.add_items(items[:1]))
    part = max(posts // 100, 1)
    parts = [items[begin : begin + part] for begin in range(1, posts - part + 1, part)]
    by_part: list[float] = []
    for few in parts:
        by_part.append(_cpu_ms(partial(_post, engine, few)) / part)
        done = 1 + part * len(by_part)
        print(f"{done:,} posts, {by_part[-1]:.2f} CPU-ms each", file=sys.stderr, flush=True)
    newest = parts[-1][-1]
    found = engine.search(newest.title).items
    changed = _cpu_ms(partial(_post, engine, again)) / len(again)
    deleted = _cpu_ms(lambda: [engine.delete_item(item.item_id) for item in again]) / len(again)
    return {
        "items": engine.state.num_items,
        "first_post": round(first, 2),
        "posts": [round(value, 2) for value in by_part],
        "mean": _mean(by_part),
        "first_tenth": _mean(by_part[: max(len(by_part) // 10, 1)]),
        "last_tenth": _mean(by_part[-max(len(by_part) // 10, 1) :]),
        "encoder": _mean([_cpu_ms(partial(encoder.encode, [item.title])) for item in again]),
        "change": round(changed, 2),
        "delete": round(deleted, 2),
        "newest_is_found": bool(found) and found[0].item_id == newest.item_id,
    }


def measure_reads(writer: Engine, reader: Engine, posts: int = 100) -> dict[str, float]:
    """CPU milliseconds of reading an item that another engine has posted, and of a second reading.

    The first one takes the item over, as a worker does before its next answer.
    """
    first, second = [], []
    for item in shop_items(posts, seed=3, prefix="read"):
        writer.add_items([item])

        def read(item_id: str = item.item_id) -> None:
            if reader.item_version < writer.item_version:
                reader.catch_up()
            assert reader.item(item_id) is not None

        first.append(_cpu_ms(read))
        second.append(_cpu_ms(read))
    return {"first_read": _mean(first), "second_read": _mean(second)}


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 2)


def _post(engine: Engine, items: Sequence[Item]) -> None:
    for item in items:
        engine.add_items([item])


def _cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
