from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_films import TAGS, write_films
from bench_world import write_world

from serendip_bench.datasets.movielens import (
    FILM_FIELDS,
    build_movielens_split,
    count_movielens_queries,
    list_movielens_queries,
    read_movielens,
)
from serendip_bench.datasets.registry import MOVIELENS, SEQUENCES, detect_dataset
from serendip_bench.unified.tasks import UnifiedSplit

pytestmark = pytest.mark.usefixtures("few_written_queries")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("bench") / "films")


@pytest.fixture(scope="module")
def split(films: Path) -> UnifiedSplit:
    return build_movielens_split(
        films, np.eye(len(list_movielens_queries(films)), dtype=np.float32)
    )


def ids(films: Path, split: UnifiedSplit, numbers: Any) -> list[int]:
    catalogue = read_movielens(films).catalogue
    return [int(catalogue[int(split.sequences.numbers[n])].item_id) for n in numbers]


def test_a_folder_is_known_by_its_files(films: Path, tmp_path: Path) -> None:
    assert detect_dataset(films) is MOVIELENS
    assert detect_dataset(write_world(tmp_path / "circles")) is SEQUENCES
    assert detect_dataset(tmp_path / "nothing") is SEQUENCES


def test_home_requests_follow_the_training_part_in_time(films: Path, split: UnifiedSplit) -> None:
    train, requests = split.sequences.train, split.tests["home"]
    times = [query.time for query in requests.queries]
    validated = [query.time for query in split.validation["home"].queries]
    assert train.events.timestamps.max() < min(validated) <= max(validated) < min(times)
    read = read_movielens(films)
    log, film_ids = read.events, [int(item.item_id) for item in read.catalogue]
    assert len(train.events) == np.searchsorted(log.timestamps, min(validated))
    assert requests.relevance is not None
    assert len(set(requests.relevance.units)) == len({query.user_id for query in requests.queries})
    for query in requests.queries:
        assert (query.history.timestamps < query.time).all()
        mine = (log.users == read.users.number(query.user_id)) & (log.timestamps < query.time)
        expected = [film_ids[number] for number in log.items[mine]]
        numbers = split.sequences.numbers
        assert [film_ids[n] for n in numbers[query.history.item_nums]] == expected
        assert sorted(film_ids[n] for n in numbers[query.exclude]) == sorted(expected)


def test_the_target_of_similar_is_the_next_liked_film_of_the_user(
    films: Path, split: UnifiedSplit
) -> None:
    requests, log = split.tests["similar"], read_movielens(films).events
    cut = min(query.time for query in split.tests["home"].queries)
    late = log.rows(log.liked & (log.timestamps >= cut))
    catalogue = read_movielens(films).catalogue
    expected = []
    for user in np.unique(late.users).tolist():
        liked = [int(catalogue[int(item)].item_id) for item in late.items[late.users == user]]
        expected += list(pairwise(liked))
    sources = [query.source_items for query in requests.queries]
    pairs = zip(
        ids(films, split, np.concatenate(sources)), ids(films, split, requests.items), strict=True
    )
    assert list(pairs) == expected
    assert all(query.exclude.tolist() == query.source_items.tolist() for query in requests.queries)
    assert not any(len(query.history) for query in requests.queries)


def test_searches_ask_for_the_known_films_of_tags_and_requests(
    films: Path, split: UnifiedSplit
) -> None:
    tags, redial = split.tests["search-tags"], split.tests["search-redial"]
    found: dict[str, list[int]] = {}
    for query, film in zip(tags.queries, ids(films, split, tags.items), strict=True):
        found.setdefault(query.text, []).append(film)
    assert found == {tag: [film for film in own if film < 999] for tag, own in TAGS.items()}
    assert ids(films, split, redial.items) == [1, 4, 2]
    assert redial.relevance is not None
    assert redial.relevance.requests.tolist() == [0, 0, 1]
    assert redial.relevance.units.tolist() == [0, 0, 0]
    facts = count_movielens_queries(films)["searches"]
    assert facts["redial"] == {"queries": 3, "asked": 2, "units": 2, "named": 5, "matched": 3}
    assert facts["tags"]["matched"] == 6


def test_tags_of_users_do_not_occur_in_training(films: Path, split: UnifiedSplit) -> None:
    queries = split.sequences.train.queries
    assert queries is not None
    assert queries.items.max() < split.sequences.train.num_items
    texts = [*queries.texts, *read_movielens(films).catalogue.texts(FILM_FIELDS)]
    assert not any("laughing" in text or "dusty" in text for text in texts)
    places = {text: place for place, text in enumerate(list_movielens_queries(films))}
    for text, vector in zip(queries.texts, queries.vectors, strict=True):
        assert vector.argmax() == places[text]
    for query in split.tests["search-tags"].queries:
        assert query.text_vector is not None
        assert query.text_vector.argmax() == places[query.text]
