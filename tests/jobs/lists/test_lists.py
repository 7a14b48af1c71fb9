from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_world import dataset_of

from serendip.data import Event
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import GateError
from serendip.evaluate.lists import Measured
from serendip.jobs.context import JobContext
from serendip.jobs.lists.gate import check_rejected, record_lists
from serendip.jobs.lists.item_facts import ItemFacts
from serendip.jobs.lists.queries import read_queries, write_queries
from serendip.jobs.lists.survey import LIKENESS, REJECTED, ListSurvey, describe_lists, find_rejected
from serendip.jobs.surface_quality.record import compare_records, describe_worst
from serendip.jobs.train.gates import require_passed


def test_items_are_compared_by_the_values_that_several_have(reader: Engine) -> None:
    facts = ItemFacts(reader)
    assert facts.kinds == ("genre",)
    assert facts.values_of("i0") == {("genre", "horror")}
    assert facts.compare_values("i0", "i3") == facts.compare_codes("i0", "i0") == 1.0
    assert facts.compare_values("i0", "i1") == 0.0
    assert len(facts.popular) == 1


def test_queries_know_what_is_right_those_of_the_catalogue_and_typed_ones(reader: Engine) -> None:
    facts = ItemFacts(reader)
    written = write_queries(facts, 10, 0)
    assert list(written) == ["a value"]
    by_text = {query.text: query for query in written["a value"]}
    assert sorted(by_text) == ["comedy", "horror", "western"]
    right = by_text["horror"].right
    assert np.flatnonzero(right).tolist() == list(range(0, 60, 3))
    assert facts.share_of(right, ["i0", "i3", "i6", "i1", "gone"]) == 0.6
    assert facts.share_of(right, []) == 0.0
    facts, typed = ItemFacts(reader), ["a good Western", "horror comedy", "tale number 7"]
    (query,) = read_queries(facts, typed, 10, 0)
    assert (query.text, int(query.right.sum())) == ("a good Western", 20)


def survey_of(reader: Engine) -> ListSurvey:
    return ListSurvey(reader, dataset_of([("u0", "i0", 0.0)]))


def test_similar_items_and_searches_are_measured_by_what_they_show(reader: Engine) -> None:
    survey = survey_of(reader)
    alike, *_ = survey.measure_similar(["i0", "i1"], [""])
    shown = reader.similar("i0").items
    genres = [reader.item(one.item_id).attributes["genre"] for one in shown]  # type: ignore[union-attr]
    assert (alike.name, alike.values[0]) == (LIKENESS, genres.count("horror") / len(genres))
    truth = survey.measure_truth("a value", write_queries(survey.facts, 3, 0)["a value"])
    assert truth.values.tolist() == [1.0, 1.0, 1.0]


def test_a_reason_that_names_words_which_an_item_lacks_misleads(reader: Engine) -> None:
    survey, asked = survey_of(reader), [Request("search", text="horror tax")]
    assert survey.measure_reasons("of searches", asked).values.tolist() == [0.0]
    assert not survey._lacks_words("Matches “horrors of a tale”", "i0")
    assert survey._lacks_words("Matches “horror tax”", "i0")


def test_rejected_are_items_that_more_people_rejected_than_chose(stand: Path) -> None:
    context = JobContext.open(stand)
    before = find_rejected(context.dataset)
    item = next(one for one in context.dataset.catalogue.vocabulary if one not in before)
    with_count = int(
        context.dataset.item_counts()[context.dataset.catalogue.vocabulary.number(item)]
    )
    hides = [Event(f"r{row}", item, 1.7e9 + row, "dislike") for row in range(with_count + 1)]
    engine = Engine.open(stand)
    engine.add_events(hides[:-1])
    assert find_rejected(JobContext.open(stand).dataset) == before
    engine.add_events(hides[-1:])
    engine.close()
    assert find_rejected(JobContext.open(stand).dataset) == before | {item}


def measured(values: np.ndarray, name: str = LIKENESS) -> Measured:
    pages = [f"i{row}" for row in range(len(values))]
    return Measured("similar items", name, pages, values)


def test_a_loss_of_one_measure_is_found_and_named() -> None:
    before = record_lists([measured(np.full(60, 0.5)), measured(np.full(60, 0.4), "truth")])
    after = record_lists([measured(np.full(60, 0.3)), measured(np.full(60, 0.39), "truth")])
    changes = compare_records(after, before, 0.1)
    assert [change.on for change in changes] == [False, True]
    assert describe_worst(changes) == (
        "similar items, attributes in common 0.5000 -> 0.3000 (-0.2000, -0.2000 to -0.2000, "
        "60 lists)"
    )


def test_one_rejected_item_as_new_is_one_too_many() -> None:
    good = Measured("new items", REJECTED, ["u1", "u2"], np.zeros(2), "none")
    bad = replace(good, values=np.array([0.0, 0.1]), examples=("Gigli",))
    require_passed(check_rejected([measured(np.zeros(60)), good]))
    with pytest.raises(GateError, match="1 of 2 lists of home have one, such as Gigli: explore"):
        require_passed(check_rejected([bad]))


def test_the_section_shows_lists_and_no_ids_of_users(stand: Path) -> None:
    context = JobContext.open(stand)
    found = describe_lists(context.workspace, context.dataset, 0)
    assert found.generation == "gen-1"
    assert {name: len(lists) for name, lists in found.lists.items()} == {
        "similar": 10,
        "search": 20,
        "home": 10,
    }
    users = set(context.dataset.users.ids)
    asked = [one.asked for lists in found.lists.values() for one in lists]
    assert not [text for text in asked if users & set(text.replace(":", " ").split())]
    groups = dict.fromkeys(figure.group for figure in found.figures)
    assert list(groups)[-1] == "reasons that mislead"
    assert {"truth of search", "searches", "suggested queries"} < set(groups)
    assert found.missing == ["Truth of what people typed: none of 0 searches names a value."]
