"""Answers of an engine to 147 requests of every surface, to see which a change of the code moves.

    serendip demo --workspace demo --no-serve
    python dev/baseline/golden.py demo --write     # once, before the change
    python dev/baseline/golden.py demo             # after it: names the requests whose answer moved

The requests are drawn by seed from the users, items and titles of the workspace. An answer is the
ids of its items in order, or the texts of its queries. Exit code 1 = an answer moved.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from serendip.engine.engine import Engine
from serendip.engine.request import Request

FILE = Path(__file__).with_name("golden.json")

_TYPED = (
    "horror, comedies, 90s thriller, romantic comedy, HORROR, children musical, film noir, "
    "like toy story, star wars, teh godfather, jurasic park, matrx, wwii, rocky 2, 1994, "
    "zzxqwv, a film about war, space adventure, 로봇, 토이 스토리"
).split(", ")


def draw_requests(engine: Engine, seed: int = 0) -> Iterator[Request]:
    """147 requests: lists of users, pages of items, baskets, searches."""
    rng = random.Random(seed)
    items = sorted(item.item_id for item in engine.state.catalogue.items)
    users = sorted(user for user, _ in engine.users(2_000))
    chosen = rng.sample(items, 60)
    people = ["", *rng.sample(users, 39)]
    yield from (Request("home", user, k=10) for user in people)
    yield from (Request("digest", user, k=5) for user in people[1:8])
    yield from (Request("similar", item_ids=(one,), k=10) for one in chosen[:30])
    yield from (Request("next", "", item_ids=(one,), k=10) for one in chosen[30:40])
    yield from (
        Request("cart", item_ids=tuple(chosen[at : at + 2]), k=10) for at in range(40, 60, 2)
    )
    yield from (Request("search", text=text, k=10) for text in _TYPED)
    titles = [engine.state.catalogue.items[at].title for at in range(0, 3_000, 150)]
    yield from (Request("search", rng.choice(users), text=text, k=10) for text in titles)
    yield from (Request("search", text=title[:4], k=10) for title in titles[:10])


def answer(engine: Engine, request: Request) -> list[str]:
    """Ids of the items of an answer, in order."""
    return [item.item_id for item in engine.recommend(request).items]


def name(number: int, request: Request) -> str:
    """What tells a request from the others; titles of the catalogue stay where they are."""
    typed = request.text if request.text in _TYPED else ""
    asked = [request.surface, request.user_id, *request.item_ids, typed]
    return f"{number} {' '.join(part for part in asked if part)}"


def main() -> None:
    """Write the answers, or compare them with those written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--write", action="store_true", help="write the answers of today")
    options = parser.parse_args()
    with closing(Engine.open(options.workspace)) as engine:
        requests = enumerate(draw_requests(engine))
        answers = {name(*numbered): answer(engine, numbered[1]) for numbered in requests}
    if options.write:
        FILE.write_text(json.dumps(answers, indent=0, ensure_ascii=False) + "\n", "utf-8")
        return
    known = json.loads(FILE.read_text("utf-8"))
    moved = [name for name, ids in answers.items() if known.get(name) != ids]
    sys.stdout.write("\n".join([f"{len(moved)} of {len(answers)} answers moved", *moved]) + "\n")
    sys.exit(bool(moved))


if __name__ == "__main__":
    main()
