"""What people see, measured over HTTP: lists of films, searches, suggested queries.

Usage: python -m serendip_bench.scripts.lists --workspace W [--only similar,names] [--json F.json]
        [--against BASELINE.json] [--data FOLDER] [--seed 0]

Starts ``serendip serve`` on a copy of a workspace of films, posts the films that were held back
from it, and asks for lists as pages do. The workspace folder has what it was trained on,
``films.jsonl`` and ``ratings.csv``, and what was held back, ``held.jsonl`` and
``held_ratings.csv``. ``--data`` is a folder with ``movielens-small`` and ``redial`` (default:
SERENDIP_DATA): tags of people for the pairs of similar items, and what people
searched. ``--only`` measures some parts:

    home     panned films, new films and their later fans
    similar  likeness of similar films, for visitors and for known users
    names    names of people, alone and with a genre
    text     capitals, nonsense, slips inside phrases
    queries  nDCG@10 of tags and redial, and real queries answered by nothing
    suggest  suggested queries without typed text

Each figure is a mean over requests (of fans: over pairs), or a sum where its name says so.
``--json`` writes all values; ``--against`` reads such a file of another run of the same seed and
prints the difference with a 95 % interval of pairs, resampled. The CPU time per request is that of
all processes of the service, encoding of texts included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import string
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from serendip.evaluate.metrics import NDCG, grade
from serendip_bench.service import HttpClient, Service, require_success, run_service

Film = dict[str, Any]
Figures = Iterator[tuple[str, list[float]]]
Slips = Iterator[tuple[str, set[str]]]

NOTES = {"in netflix queue"}
"""Tags that say what a user does with a film, not what it is."""


class ListService:
    """A service that is asked, again where it answered from less because the machine was busy."""

    def __init__(self, service: Service) -> None:
        self.service, self.client = service, HttpClient(service.netloc)
        self.requests = self.degraded = 0

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a GET."""
        for _ in range(4):
            self.requests += 1
            asked = urlencode({name: value for name, value in query.items() if value})
            answer = self.client.fetch(f"{path}?{asked}").json()
            if not answer.get("degraded"):
                break
            self.degraded += 1
        return answer

    def ids(self, path: str, k: int, **query: object) -> list[str]:
        """Ids of the items of an answer."""
        items = self.get(path, limit=k, reasons="false", **query)["items"]
        return [item["item_id"] for item in items]

    def search(self, text: str, k: int) -> list[str]:
        """Ids of found items."""
        return self.ids("/v1/search", k, q=text)

    def similar(self, film: str, user: str = "") -> list[str]:
        """Ids of ten similar items."""
        return self.ids(f"/v1/items/{quote(film)}/similar", 10, user_id=user)


class World:
    """Films by id, their ratings, the films of users, what was held back and its later fans."""

    def __init__(self, folder: Path, data: Path, seed: int) -> None:
        held = _read_lines(folder / "held.jsonl")
        self.films = {
            str(row["item_id"]): row for row in [*_read_lines(folder / "films.jsonl"), *held]
        }
        self.held = {str(row["item_id"]) for row in held}
        self.ratings: dict[str, list[float]] = defaultdict(list)
        self.histories: dict[str, set[str]] = defaultdict(set)
        for row in _read_rows(folder / "ratings.csv"):
            self.ratings[row["movieId"]].append(float(row["rating"]))
            self.histories[row["userId"]].add(row["movieId"])
        self.fans: dict[str, list[str]] = defaultdict(list)
        for row in _read_rows(folder / "held_ratings.csv"):
            if float(row["rating"]) >= 4 and row["userId"] in self.histories:
                self.fans[row["userId"]].append(row["movieId"])
        self.by_person: dict[str, set[str]] = defaultdict(set)
        for film_id, film in self.films.items():
            for name in people_of(film):
                self.by_person[name].add(film_id)
        self.texts = {id_: f"{row['title']} {row['overview']}" for id_, row in self.films.items()}
        self.words = Counter(word for text in self.texts.values() for word in set(words_of(text)))
        self.data, self.seed = data, seed

    def rng(self, name: str) -> random.Random:
        """Random numbers of one part, the same whatever else is measured."""
        return random.Random(f"{self.seed} {name}")

    def sample(self, rows: Iterable[Any], count: int, name: str) -> list[Any]:
        """Some of the rows, in an order that depends on the seed alone."""
        ordered = sorted(rows)
        return self.rng(name).sample(ordered, min(count, len(ordered)))

    def read_tags(self) -> dict[str, set[str]]:
        """Tags of people by film."""
        tags: dict[str, set[str]] = defaultdict(set)
        for row in _read_rows(self.data / "movielens-small" / "tags.csv"):
            tags[row["movieId"]].add(" ".join(row["tag"].casefold().split()))
        return {film: found - NOTES for film, found in tags.items() if film in self.films}


def people_of(film: Film) -> list[str]:
    """Directors and actors of a film."""
    return [name for name in [film.get("director"), *film["cast"]] if name]


def words_of(text: str) -> list[str]:
    """Words in small letters."""
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def measure_home(service: ListService, world: World) -> Figures:
    """Panned films and new films at home."""
    panned = {film for film, stars in world.ratings.items() if max(stars) <= 2}
    low = {film: sum(value <= 2 for value in stars) for film, stars in world.ratings.items()}
    rejected = {film for film, count in low.items() if 2 * count > len(world.ratings[film])}
    users = world.sample(world.histories, 500, "home")
    places = [service.ids("/v1/recommend", 10, user_id=user) for user in users]
    yield "home: panned films in 500 x 10 places, sum", [_share(row, panned, 1) for row in places]
    yield "home: films most rejected, sum", [_share(row, rejected, 1) for row in places]
    yield "home: share of places with new films", [_share(row, world.held, 10) for row in places]
    found = []
    for user, films in sorted(world.fans.items()):
        shown = service.ids("/v1/recommend", 20, user_id=user)
        found += [float(film in shown) for film in films]
    yield "new films: recall@20 of later fans", found


def measure_similar(service: ListService, world: World) -> Figures:
    """Likeness of similar films."""
    popular = set(sorted(world.ratings, key=lambda one: (-len(world.ratings[one]), one))[:100])
    chosen = [film for film, stars in world.ratings.items() if len(stars) >= 20]
    sources = world.sample(chosen, 150, "similar")
    active = sorted(user for user, films in world.histories.items() if len(films) >= 20)
    users = world.rng("known").choices(active, k=len(sources))
    genres = {film: set(row["genres"]) for film, row in world.films.items()}
    for label, askers in (("visitors", [""] * len(sources)), ("known users", users)):
        lists = [service.similar(*pair) for pair in zip(sources, askers, strict=True)]
        likeness = [
            [len(genres[film] & genres[one]) / len(genres[film] | genres[one]) for one in row]
            for film, row in zip(sources, lists, strict=True)
        ]
        yield f"similar, {label}: genre Jaccard", [_mean(row) for row in likeness]
        nothing = [_mean([float(value == 0) for value in row]) for row in likeness]
        yield f"similar, {label}: nothing in common", nothing
        top = [_share(row, popular, 10) for row in lists]
        yield f"similar, {label}: places of the 100 most popular", top
    tags = {film: found for film, found in world.read_tags().items() if len(found) >= 3}
    shares = []
    for film in world.sample(tags, 400, "tags"):
        found = [one for one in service.similar(film) if one in tags]
        shares += [float(bool(tags[film] & tags[one])) for one in found]
    yield "similar: pairs that share a tag of people", shares


def measure_names(service: ListService, world: World) -> Figures:
    """Names of people who are in five films and more."""
    films = {name: found for name, found in world.by_person.items() if len(found) >= 5}
    names = world.sample(films, 150, "names")
    found = [service.search(name.lower(), 5) for name in names]
    shares = [_share(row, films[name], 5) for name, row in zip(names, found, strict=True)]
    yield "names: share of first five", shares
    rng, shares = world.rng("genres"), []
    for name in names:
        genres = Counter(genre for film in films[name] for genre in world.films[film]["genres"])
        several = sorted(genre for genre, count in genres.items() if count >= 3)
        if several:
            genre = rng.choice(several)
            right = {film for film in films[name] if genre in world.films[film]["genres"]}
            shares.append(_share(service.search(f"{name} {genre}".lower(), 3), right, 3))
    yield "names: name and genre, share of first three", shares


def measure_text(service: ListService, world: World) -> Figures:
    """Capitals, nonsense and slips."""
    common = [w for w, count in world.words.items() if count >= 5 < len(w) and w.isalpha()]
    words = world.sample(common, 100, "words")
    changed = [float(service.search(w, 5) != service.search(w.upper(), 5)) for w in words]
    yield "capitals: words whose first five change, sum", changed
    rng, letters = world.rng("nonsense"), string.ascii_lowercase
    nonsense = ["".join(rng.choices(letters, k=rng.randint(6, 10))) for _ in range(60)]
    yield "nonsense: answered by nothing, sum", [float(not service.search(w, 5)) for w in nonsense]
    rng = world.rng("slips")
    for kind, slips in (("names", _slip_names), ("words", _slip_words), ("titles", _slip_titles)):
        found = [(service.search(text, 3), right) for text, right in slips(world, rng)]
        hits = [float(any(film in right for film in row)) for row, right in found]
        yield f"slips inside {len(hits)} phrases, {kind}: found in three, sum", hits


def _slip_names(world: World, rng: random.Random) -> Slips:
    people = [name for name, found in world.by_person.items() if len(found) >= 5 and " " in name]
    for name in world.sample(people, 27, "slips of names"):
        films = world.by_person[name]
        genres = Counter(genre for film in sorted(films) for genre in world.films[film]["genres"])
        genre = genres.most_common(1)[0][0].lower()
        yield f"{genre} with {_slip(name.lower(), world.words, rng)}", films


def _slip_words(world: World, rng: random.Random) -> Slips:
    rare = [word for word, count in world.words.items() if 3 <= count <= 30 and len(word) >= 7]
    for word in world.sample(rare, 27, "slips of words"):
        right = {film for film, text in world.texts.items() if word in text.casefold()}
        yield f"movies about {_slip(word, world.words, rng)}", right


def _slip_titles(world: World, rng: random.Random) -> Slips:
    titles = defaultdict(set)
    for film, row in world.films.items():
        title = row["title"].split(" (")[0].lower()
        if "," not in title and len(title.split()) >= 3 and max(map(len, title.split())) >= 5:
            titles[title].add(film)
    for title in world.sample(titles, 26, "slips of titles"):
        yield f"the movie {_slip(title, world.words, rng)}", titles[title]


def _slip(text: str, known: Mapping[str, int], rng: random.Random) -> str:
    """The text with one slip in its longest word, which is then a word that no film has."""
    words = text.split()
    place = max(range(len(words)), key=lambda row: len(words[row]))
    word = slip = words[place]
    while slip == word or slip in known:
        cut, letter = rng.randrange(1, max(2, len(word) - 1)), rng.choice(string.ascii_lowercase)
        head, tail = word[:cut], word[cut:]
        ends = (letter + tail, tail[1:], letter + tail[1:], tail[1::-1] + tail[2:])
        slip = head + rng.choice(ends)
    return " ".join([*words[:place], slip, *words[place + 1 :]])


def measure_queries(service: ListService, world: World) -> Figures:
    """What people wrote: tags, and sentences of conversations."""
    nothing = []
    for name, file, text, targets in (
        ("tags", "movielens-small/tag_queries.jsonl", "tag", "items"),
        ("redial", "redial/queries.jsonl", "query", "targets"),
    ):
        rows = [
            (row[text][:1000], set(map(str, row[targets])))
            for row in _read_lines(world.data / file)
        ]
        asked = [
            (query, sorted(films & world.films.keys())) for query, films in rows if query.strip()
        ]
        gains = []
        for query, right in world.sample([row for row in asked if row[1]], 600, name):
            found = service.search(query, 10)
            nothing.append(float(not found))
            gains.append(NDCG(10).of_list(grade(found, dict.fromkeys(right, 1.0))))
        yield f"{name}: nDCG@10", gains
    yield "real queries answered by nothing", nothing


def measure_suggest(service: ListService, world: World) -> Figures:
    """Suggested queries of 24 users."""
    films = world.films.values()
    fields = {" ".join(words_of(one)) for film in films for one in people_of(film) + film["genres"]}
    users = world.sample(world.histories, 24, "suggest")
    answers = [service.get("/v1/suggest", user_id=user, limit=10)["suggestions"] for user in users]
    texts = [[" ".join(words_of(one["text"])) for one in answer] for answer in answers]
    yield "suggested: share of bare field values", [_share(r, fields, len(r)) for r in texts]
    yield "suggested: different ones in 240, sum", [1.0] * len({one for r in texts for one in r})
    yield "suggested: given of 240, sum", [float(len(row)) for row in texts]


PARTS: dict[str, Callable[[ListService, World], Figures]] = {
    "home": measure_home,
    "similar": measure_similar,
    "names": measure_names,
    "text": measure_text,
    "queries": measure_queries,
    "suggest": measure_suggest,
}


def _share(row: Sequence[str], wanted: Iterable[str], places: int) -> float:
    return sum(one in wanted for one in row) / max(1, places)


def _mean(row: Sequence[float]) -> float:
    return sum(row) / max(1, len(row))


def _read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def measure(service: ListService, world: World, parts: Sequence[str]) -> dict[str, list[float]]:
    """Post what was held back, then values of each figure and CPU-ms per request of each part."""
    rows = [
        {
            "item_id": film,
            "title": world.films[film]["title"],
            "description": world.films[film]["overview"],
            "attributes": {
                name: world.films[film][name] for name in ("genres", "director", "cast")
            },
        }
        for film in sorted(world.held)
    ]
    require_success("/v1/items", service.client.post("/v1/items", rows))
    values: dict[str, list[float]] = {}
    for part in parts:
        begin, requests = service.service.cpu_s(), service.requests
        values.update(PARTS[part](service, world))
        spent = 1000 * (service.service.cpu_s() - begin)
        values[f"CPU-ms per request: {part}"] = [spent / (service.requests - requests)]
    values["answered from less, sum"] = [float(service.degraded)]
    return values


def compare(name: str, values: Sequence[float], before: Sequence[float]) -> str:
    """The value of another run, and the difference with its interval where requests are pairs."""
    scale = len(values) if name.endswith(", sum") else 1
    text = f"  before {_mean(before) * (len(before) if scale > 1 else 1):8.3f}"
    if len(values) != len(before) or len(values) < 2:
        return text
    gaps = np.subtract(values, before)
    rows = np.random.default_rng(0).integers(0, len(gaps), (1000, len(gaps)))
    low, high = np.percentile(gaps[rows].mean(1) * scale, [2.5, 97.5])
    return f"{text}  difference {gaps.mean() * scale:+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    """Parse, measure, print."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--workspace", type=Path, required=True, help="folder; a copy is served")
    data = os.environ.get("SERENDIP_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for all values")
    parser.add_argument("--against", type=Path, help="file of --json of another run")
    options = parser.parse_args()
    world, parts = World(options.workspace, options.data, options.seed), options.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(options.workspace, Path(folder) / "workspace"))
        with run_service(copy) as service:
            values = measure(ListService(service), world, parts)
    if options.json:
        options.json.write_text(json.dumps(values), encoding="utf-8")
    other = json.loads(options.against.read_text(encoding="utf-8")) if options.against else {}
    for name, row in values.items():
        value = _mean(row) * (len(row) if name.endswith(", sum") else 1)
        line = f"{name:58} {value:8.3f}  n {len(row):5}"
        print(line + (compare(name, row, other[name]) if name in other else ""))


if __name__ == "__main__":
    main()
