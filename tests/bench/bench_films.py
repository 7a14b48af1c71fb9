"""A folder of films small enough for tests, in the files of MovieLens, with requests beside it."""

import json
from pathlib import Path

import numpy as np

NUM_FILMS, NUM_VIEWERS, RATED = 30, 25, 12
GENRES = ("Comedy", "Horror", "Western")
TAGS = {"laughing": [1, 4, 7], "scary": [2], "dusty": [3, 6, 999]}
REQUESTS = [
    ("d1", "something funny please", [1, 4], ["Film 1", "Film 4", "not here"]),
    ("d1", "or with ghosts", [2], ["Film 2"]),
    ("d2", "a film from far away", [999], ["Film 999"]),
]


def write_films(folder: Path) -> Path:
    """Films, ratings of one genre per viewer one after the other, tags; requests beside."""
    folder.mkdir(parents=True)
    with (folder / "items.jsonl").open("w") as stream:
        for number in range(1, NUM_FILMS + 1):
            genre = GENRES[(number - 1) % 3]
            film = {
                "item_id": number,
                "title": f"{genre} {number} ({1990 + number % 9})",
                "genres": [genre],
                "overview": f"A {genre.lower()} about number {number}.",
                "director": f"Director {number % 5}",
                "cast": f"Actor {number % 4}|Actor {number % 7}",
                "tags": ["laughing"],
            }
            stream.write(json.dumps(film) + "\n")
    rng = np.random.default_rng(0)
    lines = ["userId,movieId,rating,timestamp"]
    for viewer in range(NUM_VIEWERS):
        shuffled = rng.permutation(np.arange(NUM_FILMS))
        films = shuffled[np.argsort(shuffled % 3 != viewer % 3, kind="stable")][:RATED] + 1
        for position, film in enumerate(films.tolist()):
            rating = 5.0 if (film - 1) % 3 == viewer % 3 else 2.5
            lines.append(
                f"{viewer},{film},{rating},{1_000 * viewer + 10_000 + 3 * (position // 2)}"
            )
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    with (folder / "tag_queries.jsonl").open("w") as stream:
        for tag, items in TAGS.items():
            stream.write(json.dumps({"tag": tag, "items": items, "users": 1}) + "\n")
    requests = folder.parent / "redial"
    requests.mkdir()
    with (requests / "queries.jsonl").open("w") as stream:
        for dialog, text, targets, names in REQUESTS:
            row = {"dialog_id": dialog, "query": text, "targets": targets, "target_names": names}
            stream.write(json.dumps(row) + "\n")
    return folder
