import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary
from serendip.data.items.features import ModalityVectors
from serendip_bench.datasets.posters import (
    READINGS,
    build_film_vectors,
    build_genre_table,
    read_films,
    unpack_posters,
)
from serendip_bench.splits import BenchSplit, build_cold_events_split

GENRES = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], np.bool_)


def shop_of_walks(seed: int = 0) -> Dataset:
    """40 users, 12 different items each out of 40, two events per second."""
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(40)[:12] for _ in range(40)], axis=1).ravel()
    users, times = np.tile(np.arange(40), 12), np.repeat(np.arange(12) // 2, 40)
    log = EventLog(
        users.astype(np.int32),
        items.astype(np.int32),
        times.astype(np.float64),
        np.zeros(480, np.bool_),
        np.full(480, np.nan, np.float32),
    )
    catalogue = Catalogue([Item(f"i{number}") for number in range(40)])
    return Dataset(catalogue, Vocabulary(f"u{number}" for number in range(40)), log)


def names(split: BenchSplit, numbers: np.ndarray) -> list[str]:
    return [f"i{split.numbers[number]}" for number in numbers]


def test_every_event_of_a_cold_item_is_asked_for_with_what_came_strictly_before() -> None:
    dataset = shop_of_walks()
    split = build_cold_events_split(dataset, np.arange(20, dtype=np.int32), seed=1)
    cold = set(names(split, np.flatnonzero(split.cold)))
    assert len(cold) == 1
    assert cold <= {f"i{number}" for number in range(20)}
    expected = {}
    for user in range(dataset.num_users):
        history = dataset.history(user)
        for item, time in zip(history.item_nums, history.timestamps, strict=True):
            before = [
                f"i{other}"
                for other, at in zip(history.item_nums, history.timestamps, strict=True)
                if at < time and f"i{other}" not in cold
            ]
            if f"i{item}" in cold and before:
                expected[f"u{user}", f"i{item}"] = before
    is_cold = split.cold[split.test.items]
    found = {
        (query.user_id, names(split, [item])[0]): names(split, query.history.item_nums)
        for query, item, asked in zip(split.test.queries, split.test.items, is_cold, strict=True)
        if asked
    }
    assert found == expected
    assert is_cold.sum() == len(expected) > 4
    for query in split.test.queries:
        assert set(query.exclude.tolist()) == set(query.history.item_nums.tolist())


def test_films_get_their_ratings_in_order_of_time_and_their_posters(tmp_path: Path) -> None:
    rows = [
        {"item_id": 7, "title": "Matrix, The (1999)", "overview": "Why?", "genres": ["A", "B"]},
        {"item_id": 9, "title": "Alien (1979)", "genres": ["(no genres listed)"]},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ratings = ["userId,movieId,rating,timestamp", "1,9,4.0,50", "1,7,2.0,40"]
    (tmp_path / "ratings.csv").write_text("\n".join(ratings))
    with zipfile.ZipFile(tmp_path / "posters.zip", "w") as stored:
        stored.writestr("../7.jpg", b"picture")
        stored.writestr("list.txt", b"no picture")
    found = unpack_posters(tmp_path / "posters.zip", tmp_path / "cache")
    assert found == {"7": "7.jpg"}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["7.jpg"]
    dataset = read_films(tmp_path, found)
    assert dataset.catalogue[0].text(("title", "year", "description")) == "The Matrix. 1999. Why?"
    assert [film.attributes["image"] for film in dataset.catalogue.items] == ["7.jpg", ""]
    assert dataset.events.items.tolist() == [0, 1]
    assert dataset.events.liked.tolist() == [False, True]
    assert build_genre_table(dataset.catalogue).tolist() == [[True, True], [False, False]]


def encoded_films() -> dict[str, ModalityVectors]:
    rng = np.random.default_rng(0)
    pictured = np.arange(30) % 3 > 0
    return {
        "text": ModalityVectors(rng.normal(size=(30, 4)).astype(np.float32), np.ones(30, np.bool_)),
        "image": ModalityVectors(rng.normal(size=(30, 3)).astype(np.float32), pictured),
    }


@pytest.mark.parametrize("name", READINGS)
def test_a_reading_follows_what_it_reads_and_nothing_else(name: str) -> None:
    encoded, training = encoded_films(), np.arange(25, dtype=np.int32)
    before = build_film_vectors(encoded, READINGS[name], training, seed=0)
    assert len(before) == 30
    assert (before.any(axis=1) == (encoded["image"].present | ("text" in name))).all()
    for modality in ("text", "image"):
        moved = encoded[modality].vectors.copy()
        moved[29] += 1.0  # Not in what the fusion is fitted on; it has a picture.
        others = {**encoded, modality: ModalityVectors(moved, encoded[modality].present)}
        changed = (build_film_vectors(others, READINGS[name], training, seed=0) != before).any(
            axis=1
        )
        if modality not in name:
            assert not changed.any()
        elif "shuffled" not in name:
            assert np.flatnonzero(changed).tolist() == [29]
