"""Known-item search: does the first hit bear the title that was typed, right or with one slip?

    python src/serendip_bench/scripts/known_item_search.py demo

Asks the engine of a published workspace. Every distinct title is searched once as it is and once
with one random slip (insert, delete, replace, swap neighbours) in its longest word, where that has
five letters or more. Where several items share a title, the most popular must come first. Prints
one JSON line; times are milliseconds of one thread, text encoding and ranking included.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import string
import time
from collections.abc import Sequence
from pathlib import Path

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.engine.engine import Engine
from serendip.engine.generations import open_current
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace

MIN_LETTERS = 5
WARM_UP = 50


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.workspace, chosen.seed)))


def run(workspace: Path, seed: int) -> dict[str, object]:
    """All figures of one workspace."""
    generation = open_current(Workspace.open(workspace).generations)
    state = EngineState.open(generation.folder)
    best: dict[str, str] = {}
    for number in np.argsort(-state.counts, kind="stable").tolist():
        item = state.catalogue[number]
        if item.title:
            best.setdefault(item.title, item.item_id)
    counts = dict(zip(state.catalogue.vocabulary.ids, state.counts.tolist(), strict=True))
    engine = Engine.open(workspace)
    rng = random.Random(seed)
    slips = [(slip, title) for title in best if (slip := with_slip(title, rng))]
    result = {
        "benchmark": "known_item_search",
        "generation": generation.name,
        "items": state.num_items,
        "seed": seed,
        "exact": _asked(engine, [(title, title) for title in best], best, counts),
        "typo": _asked(engine, slips, best, counts),
        "machine": f"{platform.machine()} python {platform.python_version()}",
    }
    engine.close()
    return result


def with_slip(title: str, rng: random.Random) -> str:
    """The title with one slip in its longest word; empty where that has under five letters."""
    words = title.split()
    at = max(range(len(words)), key=lambda row: len(words[row]))
    word = words[at]
    if sum(letter.isalpha() for letter in word) < MIN_LETTERS:
        return ""
    slipped = word
    while slipped.casefold() == word.casefold():
        place, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase)
        head, tail = word[:place], word[place:]
        slipped = rng.choice(
            (head + letter + tail, head + tail[1:], head + letter + tail[1:], head + _swap(tail))
        )
    return " ".join([*words[:at], slipped, *words[at + 1 :]])


def _swap(tail: str) -> str:
    return tail[1::-1] + tail[2:]


def _asked(
    engine: Engine,
    pairs: Sequence[tuple[str, str]],
    best: dict[str, str],
    counts: dict[str, int],
) -> dict[str, float]:
    """Share of first hits with the title, share with the most popular bearer, and times."""
    for text, _ in pairs[:WARM_UP]:
        engine.search(text, k=1)
    times, titled, popular = [], 0, 0
    for text, title in pairs:
        begin = time.perf_counter()
        answer = engine.search(text, k=1)
        times.append(1e3 * (time.perf_counter() - begin))
        found = answer.items[0].item_id if answer.items else ""
        item = engine.item(found) if found else None
        if item is not None and item.title == title:
            titled += 1
            popular += counts[found] == counts[best[title]]
    return {
        "n": len(pairs),
        "first_hit": round(titled / len(pairs), 5),
        "most_popular_bearer": round(popular / len(pairs), 5),
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
    }


if __name__ == "__main__":
    main()
