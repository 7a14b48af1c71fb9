"""Known-item search: share of first results with the typed title, with and without a typo.

    python -m serendip_bench.scripts.known_item_search demo

Uses the engine of a published workspace. Every distinct title is searched as it is, and with one
random typo (insertion, deletion, substitution, transposition) in its longest word, if that has five
letters or more. If several items share a title, the most popular one must come first. Prints one
JSON line; times are milliseconds on one thread, including text encoding and ranking.
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

from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace

MIN_LETTERS = 5
WARM_UP = 50


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(run(options.workspace, options.seed)))


def run(workspace: Path, seed: int) -> dict[str, object]:
    """Measure one workspace."""
    generation = open_current(Workspace.open(workspace).generations)
    state = EngineState.open(generation.folder)
    most_popular: dict[str, str] = {}
    for number in np.argsort(-state.counts, kind="stable").tolist():
        item = state.catalogue[number]
        if item.title:
            most_popular.setdefault(item.title, item.item_id)
    counts = dict(zip(state.catalogue.vocabulary.ids, state.counts.tolist(), strict=True))
    engine = Engine.open(workspace)
    rng = random.Random(seed)
    misspelt = [(text, title) for title in most_popular if (text := add_typo(title, rng))]
    result = {
        "benchmark": "known_item_search",
        "generation": generation.name,
        "items": state.num_items,
        "seed": seed,
        "exact": _measure(engine, [(title, title) for title in most_popular], most_popular, counts),
        "typo": _measure(engine, misspelt, most_popular, counts),
        "machine": f"{platform.machine()} python {platform.python_version()}",
    }
    engine.close()
    return result


def add_typo(title: str, rng: random.Random) -> str:
    """The title with one typo in its longest word; empty if that has fewer than five letters."""
    words = title.split()
    longest = max(range(len(words)), key=lambda row: len(words[row]))
    word = words[longest]
    if sum(letter.isalpha() for letter in word) < MIN_LETTERS:
        return ""
    misspelt = word
    while misspelt.casefold() == word.casefold():
        position, letter = rng.randrange(len(word)), rng.choice(string.ascii_lowercase)
        head, tail = word[:position], word[position:]
        misspelt = rng.choice(
            (head + letter + tail, head + tail[1:], head + letter + tail[1:], head + _swap(tail))
        )
    return " ".join([*words[:longest], misspelt, *words[longest + 1 :]])


def _swap(tail: str) -> str:
    return tail[1::-1] + tail[2:]


def _measure(
    engine: Engine,
    pairs: Sequence[tuple[str, str]],
    most_popular: dict[str, str],
    counts: dict[str, int],
) -> dict[str, float]:
    """Share of first results with the title, share that is its most popular item, and times."""
    for text, _ in pairs[:WARM_UP]:
        engine.search(text, k=1)
    times, num_titled, num_most_popular = [], 0, 0
    for text, title in pairs:
        start = time.perf_counter()
        answer = engine.search(text, k=1)
        times.append(1e3 * (time.perf_counter() - start))
        item_id = answer.items[0].item_id if answer.items else ""
        item = engine.item(item_id) if item_id else None
        if item is not None and item.title == title:
            num_titled += 1
            num_most_popular += counts[item_id] == counts[most_popular[title]]
    return {
        "n": len(pairs),
        "first_hit": round(num_titled / len(pairs), 5),
        "most_popular_bearer": round(num_most_popular / len(pairs), 5),
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
    }


if __name__ == "__main__":
    main()
