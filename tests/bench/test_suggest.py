import json
from pathlib import Path

import numpy as np
import pytest
from bench_films import write_films

from serendip.data.vocabulary import Vocabulary
from serendip.runtime.progress import TrainOptions
from serendip_bench.datasets.movielens import read_movielens
from serendip_bench.suggest import UNRESTRICTED, SuggestBench, measure_reach, run_suggest
from serendip_bench.suggest_sets import Target, read_tags, select_targets, with_choices

FILMS = Vocabulary([str(number) for number in range(1, 31)])
DAY = 100_000


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Viewers tag their films by genre, the newest tag being a film's director."""
    folder = write_films(tmp_path_factory.mktemp("suggest") / "films")
    lines = ["userId,movieId,tag,timestamp"]
    for viewer in range(12):
        for index, tag in enumerate(("good", ("Comedy", "Horror", "Western")[viewer % 3])):
            film = 1 + (viewer + 3 * index) % 30
            lines.append(f"{viewer},{film},{tag},{DAY * (viewer + 1) + index}")
        lines.append(f"{viewer},{1 + viewer},good,{DAY * (viewer + 1) + 5}")
    lines += [f"0,999,far,{DAY}", f"0,1,!!!,{DAY}"]
    (folder / "tags.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_tags_are_searches_and_targets_are_a_users_newest_ones(films: Path) -> None:
    searches = read_tags(films, FILMS)
    assert len(searches) == 36 and {search.key for search in searches} >= {"good", "comedy"}
    new = select_targets(searches, "new")
    assert new[0] == Target("0", DAY + 1.0, "comedy") and len(new) == 12
    assert {search.key for search in select_targets(searches, "validation")} == {"good"}


def test_the_film_of_a_tag_is_chosen_at_the_time_of_the_tag(films: Path) -> None:
    rated = read_movielens(films)
    searches = read_tags(films, rated.catalogue.vocabulary)
    dataset = with_choices(rated, searches)
    searches_of_raters = [search for search in searches if rated.users.number(search.user_id) >= 0]
    assert len(dataset.events) == len(rated.events) + len(searches_of_raters)
    assert (np.diff(dataset.events.timestamps) >= 0).all()
    search = searches_of_raters[0]
    history = dataset.history(dataset.users.number(search.user_id))
    assert search.chosen[0] in history.item_nums[history.timestamps == search.timestamp]
    assert len(with_choices(rated, []).events) == len(rated.events)


def test_reach_counts_items_in_the_first_ten() -> None:
    results = np.full((2, 10), -1, np.int32)
    results[0, :2], results[1, 0] = (0, 1), 0
    reach = measure_reach(results, 4)
    assert reach["share"] == 0.5 and reach["gini"] == pytest.approx(7 / 12)
    assert measure_reach(results[:0], 4) == {"queries": 0, "share": 0.0, "gini": None}


def test_every_system_is_evaluated_and_all_shown_suggestions_have_results(
    films: Path, tmp_path: Path
) -> None:
    file = tmp_path / "suggest.json"
    bench = SuggestBench(films, file, encoder="hashing")
    rows: list[str] = []
    document = run_suggest(bench, TrainOptions(), lambda row: rows.append(row["model"]))
    assert json.loads(file.read_text()) == document
    names = list(dict.fromkeys(rows))
    public_only = ["most-popular, by enough people", "co-occurrence, by enough people"]
    assert names[:5] == ["most-popular", "co-occurrence", *public_only, "serendip"]
    assert names[5:] == [UNRESTRICTED]
    assert document["users"] == 12
    for name in names[4:]:
        assert document["shown"][name]["with_results"] == 1.0
    served = {row["typed"]: row for row in document["rows"] if row["model"] == "serendip"}
    assert served[3]["success@10"] == 1.0 and served[0]["cpu_ms"] is not None
    pairs = {
        (comparison["system"], comparison["baseline"]) for comparison in document["comparisons"]
    }
    unrestricted = {(UNRESTRICTED, "most-popular"), (UNRESTRICTED, "co-occurrence")}
    assert pairs == unrestricted | {("serendip", name) for name in names if name != "serendip"}
    reach = document["reach"]
    assert reach["serendip"]["share"] >= reach["most-popular"]["share"]
