import json
from pathlib import Path

import numpy as np
import pytest
from bench_films import write_films

from serendip.data.items.catalogue import Catalogue, Item
from serendip.errors import ConfigError
from serendip_bench.suggest_sets import NamedQueries, list_sets, read_suggest_data

NUM_USERS = 40


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who choose from one category after the other."""
    folder = tmp_path_factory.mktemp("sequences")
    rows = [
        {
            "item_id": str(item),
            "title": f"Thing {item}",
            "categories": [["Shop", f"Part {item % 5}"]],
        }
        for item in range(20)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        f"u{user} " + " ".join(str((user + step) % 20) for step in range(4))
        for user in range(NUM_USERS)
    ]
    (folder / "sequences.txt").write_text("\n".join(lines))
    return folder


def test_halves_of_the_held_out_users_do_not_see_each_other(sequences: Path) -> None:
    names = ("categories", "categories-validation")
    test, validation = (read_suggest_data(sequences, name, 0, 100) for name in names)
    asked = [{target.user_id for target in data.targets} for data in (test, validation)]
    assert len(asked[0]) == len(asked[1]) == NUM_USERS // 10
    assert not asked[0] & asked[1]
    for data, own, other in ((test, asked[0], asked[1]), (validation, asked[1], asked[0])):
        searchers = {search.user_id for search in data.searches}
        assert own <= searchers and not other & searchers
        late = {s.user_id for s in data.searches if s.timestamp >= data.held_out_from}
        assert late == own
        events = data.dataset.events
        ids = [data.dataset.users.ids[user] for user in events.users.tolist()]
        assert not other & set(ids) and (np.diff(events.timestamps) >= 0).all()
        after = events.timestamps >= data.held_out_from
        assert {user for user, is_late in zip(ids, after, strict=True) if is_late} == own


def test_a_target_is_the_newest_query_of_its_user_and_what_is_before_is_known(
    sequences: Path,
) -> None:
    data = read_suggest_data(sequences, "categories", 0, 100)
    few = read_suggest_data(sequences, "categories", 0, 3)
    assert list(few.targets) == list(data.targets)[:3]
    for target in data.targets:
        own = [search for search in data.searches if search.user_id == target.user_id]
        assert target.key == own[-1].key and target.timestamp == own[-1].timestamp
        assert target.key not in {search.key for search in own[:-1]}
        number = data.dataset.users.number(target.user_id)
        known = data.dataset.history(number).before(target.timestamp)
        assert known.item_nums.tolist() == [int(s.chosen[0]) for s in own[:-1]]


def test_queries_of_a_sentence_are_what_it_names() -> None:
    films = Catalogue(
        [
            Item("1", "The War of the Worlds (1953)", attributes={"genres": ("Sci-Fi", "War")}),
            Item("2", "Heat (1995)", attributes={"cast": ("Al Pacino",)}),
        ]
    )
    named = NamedQueries.of(films)
    assert named.find("A film like the war of the worlds, or with Al Pacino?") == [
        "like The War of the Worlds (1953)",
        "Al Pacino",
    ]
    assert named.find("war, sci-fi and more WAR; in the heat") == ["War", "Sci-Fi"]
    assert named.find("") == []


def test_talks_search_what_they_name(tmp_path: Path) -> None:
    folder = write_films(tmp_path / "films")
    requests = folder.parent / "redial" / "queries.jsonl"
    requests.parent.mkdir(exist_ok=True)
    rows = [
        {"dialog_id": f"d{number}", "query": f"any {genre} film?", "targets": [1 + number]}
        for number in range(10)
        for genre in ("comedy", "horror")
    ]
    requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n0,1,good,5\n")
    data = read_suggest_data(folder, "requests", 1, 100)
    assert {target.key for target in data.targets} == {"horror"} and len(data.targets) == 4
    first = data.targets[0]
    own = [search for search in data.searches if search.user_id == first.user_id]
    assert [search.text for search in own] == ["Comedy", "Horror"]
    with pytest.raises(ConfigError, match="categories"):
        read_suggest_data(folder, "categories", 0, 100)
    assert set(list_sets(folder)) >= {"new", "validation", "requests", "requests-validation"}
