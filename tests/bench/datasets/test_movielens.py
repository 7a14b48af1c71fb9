from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_films import TAGS, write_films

from serendip_bench.datasets.movielens import FILM_FIELDS, read_movielens, split_movielens
from serendip_bench.ranking.splits import BenchSplit

pytestmark = pytest.mark.usefixtures("few_written_queries")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("bench") / "films")


@pytest.fixture(scope="module")
def split(films: Path) -> BenchSplit:
    return split_movielens(read_movielens(films), films)


def ids(films: Path, split: BenchSplit, numbers: Any) -> list[int]:
    catalogue = read_movielens(films).catalogue
    return [int(catalogue[int(split.numbers[n])].item_id) for n in numbers]


def test_home_requests_follow_the_training_part_in_time(films: Path, split: BenchSplit) -> None:
    train, requests = split.train, split.tests["home"]
    times = [query.time for query in requests.queries]
    validated = [query.time for query in split.validation["home"].queries]
    assert train.events.timestamps.max() < min(validated) <= max(validated) < min(times)
    read = read_movielens(films)
    log, film_ids = read.events, [int(item.item_id) for item in read.catalogue]
    assert len(train.events) == np.searchsorted(log.timestamps, min(validated))
    assert len(set(requests.units)) == len({query.user_id for query in requests.queries})
    for query in requests.queries:
        assert (query.history.timestamps < query.time).all()
        mine = (log.users == read.users.number(query.user_id)) & (log.timestamps < query.time)
        expected = [film_ids[number] for number in log.items[mine]]
        numbers = split.numbers
        assert [film_ids[n] for n in numbers[query.history.item_nums]] == expected
        assert sorted(film_ids[n] for n in numbers[query.exclude]) == sorted(expected)


def test_the_target_of_similar_is_the_next_liked_film_of_the_user(
    films: Path, split: BenchSplit
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
    films: Path, split: BenchSplit
) -> None:
    tags, redial = split.tests["search-tags"], split.tests["search-redial"]
    found: dict[str, list[int]] = {}
    for query, film in zip(tags.queries, ids(films, split, tags.items), strict=True):
        found.setdefault(query.text, []).append(film)
    assert found == {tag: [film for film in own if film < 999] for tag, own in TAGS.items()}
    assert ids(films, split, redial.items) == [1, 4, 2]
    assert redial.requests.tolist() == [0, 0, 1]
    assert redial.units.tolist() == [0, 0, 0]


def test_tags_of_users_do_not_occur_in_training(films: Path, split: BenchSplit) -> None:
    queries = split.train.queries
    assert queries.items.max() < split.train.num_items
    texts = [*queries.texts, *read_movielens(films).catalogue.texts(FILM_FIELDS)]
    assert not any("laughing" in text or "dusty" in text for text in texts)
