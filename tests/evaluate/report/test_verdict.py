"""Sentences follow the numbers."""

from worlds import protocol_world, report_world

from serendip.evaluate.number_format import interval, number, percent, points, seconds
from serendip.evaluate.report.verdict import describe_splits, describe_surfaces, sentences


def section(verdict="better", difference=0.021, low=0.012, high=0.03):
    found = {"value": 0.182, "low": 0.169, "high": 0.196, "n": 671}
    row = {"system": "home", "baseline": "popularity", "difference": difference, "low": low}
    row |= {"high": high, "n": 671, "verdict": verdict, "minimum_detectable": 0.034}
    return {
        "label": "Temporal split",
        "subject": "home",
        "n_users": 671,
        "systems": {"home": {"Recall@10": found, "nDCG@10": {**found, "value": 0.0912}}},
        "slices": {},
        "comparisons": [{**row, "metric": "Recall@10"}, {**row, "metric": "nDCG@10"}],
    }


def test_the_level_and_the_difference_are_said_with_intervals():
    lines = sentences({"temporal": section()}, noun="film")
    assert lines[0] == (
        "On the temporal split the home has the next film in its first ten for 18.2 % of requests "
        "(95 % CI 16.9 to 19.6, mean over 671 users)."
    )
    assert lines[1] == (
        "That is 2.1 points above popularity (95 % CI of the paired difference +1.2 to +3.0, "
        "n = 671): better."
    )
    assert lines[2] == "By the order of the ten (nDCG@10): better than popularity."


def test_a_worse_system_is_called_worse():
    lines = sentences({"temporal": section("worse", -0.021, -0.03, -0.012)})
    assert "That is 2.1 points below popularity" in lines[1]
    assert lines[1].endswith("-3.0 to -1.2, n = 671): worse.")


def test_too_small_says_what_would_have_shown():
    lines = sentences({"temporal": section("too small to tell", 0.01, -0.01, 0.03)})
    assert lines[1].endswith(
        "too small to tell; only a difference of 3.4 points or more would show."
    )


def test_leave_last_out_comes_last_and_claims_nothing():
    other = {**section(), "label": "Literature comparison: leaks the future"}
    lines = sentences({"leave_last_out": other, "temporal": section()})
    assert lines[0].startswith("On the temporal split")
    assert lines[-1] == (
        "Literature comparison: leaks the future. There the home has Recall@10 0.182 and "
        "nDCG@10 0.091 over 671 users; no claim rests on these."
    )


def test_slices_are_said_with_their_users_and_empty_ones_as_such():
    changes = {"splits": None, "surfaces": (), "exploration": None}
    changes |= {"new_items": None, "reasons": {}, "context": None, "lists": None}
    line = report_world([protocol_world()], **changes)["verdict"][-1]
    assert "for cold items (" in line
    assert "no request for cold users" in line


def slice_of(**shares):
    """A slice; a system has (value, low, high), or None where nobody asks."""
    names = ("value", "low", "high")
    systems = {
        name: {"Recall@10": {**dict(zip(names, share or (None,) * 3, strict=True)), "n": 60}}
        for name, share in shares.items()
    }
    return {"n_users": 60, "n_targets": 300, "systems": systems}


def test_models_far_above_on_cold_or_tail_items_are_named_best_first():
    cold = slice_of(
        home=(0.0019, 0.0012, 0.005),
        knn=(0.001, 0.0, 0.004),
        content=(0.033, 0.02, 0.05),
        retriever=(0.039, 0.028, 0.056),
    )
    tail = slice_of(home=(0.0228, 0.018, 0.031), retriever=(0.0308, 0.024, 0.04))
    slices = {"cold items": cold, "tail items": tail}
    lines = sentences({"temporal": {**section(), "slices": slices}})
    assert lines[-2].startswith("Where it is hard")
    assert lines[-1] == (
        "For cold items the home is far below retriever with 3.9 % (2.8 to 5.6) and content with "
        "3.3 % (2.0 to 5.0): the intervals do not overlap."
    )


def test_tail_items_have_a_sentence_of_their_own():
    tail = slice_of(home=(0.02, 0.01, 0.03), content=(0.044, 0.035, 0.06))
    lines = sentences({"temporal": {**section(), "slices": {"tail items": tail}}})
    assert lines[-1] == (
        "For tail items the home is far below content with 4.4 % (3.5 to 6.0): "
        "the intervals do not overlap."
    )


def test_slices_in_which_no_model_is_far_above_say_nothing_of_models():
    level = slice_of(home=(0.02, 0.01, 0.03), content=(0.04, 0.03, 0.06))
    empty = slice_of(home=None, content=None)
    for part in (level, empty):
        lines = sentences({"temporal": {**section(), "slices": {"cold items": part}}})
        assert lines[-1].startswith("Where it is hard")


def test_nothing_judged_says_nothing():
    assert sentences({}) == []


def test_numbers_are_written_for_people():
    assert [number(v) for v in (0.18234, 0.00123, 0.0, 12_345, 9066.5, None)] == [
        "0.182",
        "0.0012",
        "0.000",
        "12,345",
        "9,066.50",
        "\N{EN DASH}",
    ]
    assert (percent(0.182), percent(0.0042), percent(None)) == ("18.2 %", "0.42 %", "\N{EN DASH}")
    assert (points(0.021), points(-0.0021)) == ("+2.1", "-0.21")
    assert (seconds(0.421), seconds(12.34), seconds(125)) == ("0.42 s", "12.3 s", "2 min 05 s")
    assert interval({"low": 0.1, "high": 0.2}) == "0.100 to 0.200"


def test_seconds_that_round_up_to_a_minute_are_written_as_one():
    assert seconds(59.96) == "1 min 00 s"


def test_what_was_judged_and_what_was_not_is_said():
    splits = {
        "made": ["temporal@0.9"],
        "left_out": ["temporal@0.75", "leave_last_out"],
        "sampled": {"temporal@0.9": {"users": 2_000, "all_users": 50_000}},
    }
    assert describe_splits(splits) == [
        "The temporal cut at 90 % of the events: a random 2,000 of 50,000 users were judged; "
        "`serendip evaluate --full` judges all.",
        "Judged: the temporal cut at 90 % of the events. Not judged: the temporal cut at 75 % of "
        "the events and leave last out; `serendip evaluate --full` adds them.",
    ]
    whole = {"made": ["temporal@0.9", "leave_last_out"], "left_out": [], "sampled": {}}
    assert describe_splits(whole) == describe_splits({}) == []


def test_every_surface_but_home_has_a_sentence():
    lines = describe_surfaces(report_world()["surfaces"])
    assert lines[0] == (
        "Surface cart: nDCG@10 0.545 (0.460 to 0.631, 3 requests of 2 users): too small to tell "
        "from popularity."
    )
    assert "It sends to 66.7 % of users" in lines[1]
    assert "of the places are sold" in lines[1]
    assert lines[2] == "Surface ads: not measured. No item has a bid."
    home = {"home": report_world()["surfaces"]["cart"]}
    assert describe_surfaces(home) == []


def test_what_likeness_costs_is_one_sentence():
    cart = report_world()["surfaces"]["cart"]
    lines = describe_surfaces({"similar": cart, "next": cart})
    assert lines[-1] == (
        "Likeness costs next choices: nDCG@10 0.545 on the surface similar, which shows what is "
        "alike, and 0.545 on next, which shows what is chosen next."
    )
    unmeasured = report_world()["surfaces"]["ads"]
    assert not any("costs" in line for line in describe_surfaces({"next": unmeasured}))
    assert len(describe_surfaces({"similar": cart})) == 1


def test_home_has_a_sentence_of_its_own_where_items_come_again():
    section = report_world()["surfaces"]["cart"]
    again = {**section, "slices": {"repeats": {}}}
    (line,) = describe_surfaces({"home": again})
    assert line.startswith("Surface home: nDCG@10 0.545 (0.460 to 0.631, 3 requests of 2 users)")
    assert line.endswith("the sentences about the split are of first choices alone.")
