"""Five sentences that follow the numbers."""

from worlds import report_world

from serendip.evaluate.number_format import interval, number, percent, seconds
from serendip.evaluate.report.verdict import describe_report


def verdict(**changes):
    return report_world(**changes)["verdict"]


def test_five_sentences_say_quality_order_slices_surfaces_and_what_is_wrong():
    quality, order, hard, surfaces, wrong = verdict()
    assert quality.startswith("On the temporal split the engine has the next item in its first ten")
    assert quality.endswith(" users); `serendip evaluate --full` adds 1 other split.")
    assert order == "By the order of the ten (nDCG@10) it is better than item-kNN and popularity."
    assert "for cold items (" in hard
    assert hard.endswith("; no request for cold users.")
    assert surfaces.startswith(
        "Surfaces by nDCG@10, against their baselines: cart 0.545 (0.460 to 0.631); search"
    )
    assert surfaces.endswith("; ads not measured.")
    assert wrong == (
        "What nobody should see, and people see: new items: rejected items shown as new (2.0 %)."
    )


def test_a_sample_is_named():
    sampled = {"temporal@0.9": {"users": 2_000, "all_users": 50_000}}
    first = verdict(splits={"made": [], "left_out": [], "sampled": sampled})[0]
    assert first.endswith(
        "; a random 2,000 of 50,000 users were judged, `serendip evaluate --full` judges all."
    )


def test_what_was_not_measured_has_no_sentence():
    assert len(verdict(splits={}, surfaces=(), lists=None)) == 3
    assert verdict(protocols={}, surfaces=(), lists=None) == []


def share(value, low, high):
    return {"Recall@10": {"value": value, "low": low, "high": high, "n": 60}}


def test_systems_far_above_where_it_is_hard_are_named_best_first():
    report = report_world()
    cold = {
        "home": share(0.0019, 0.0012, 0.005),
        "knn": share(0.001, 0.0, 0.004),
        "content": share(0.033, 0.02, 0.05),
        "retriever": share(0.039, 0.028, 0.056),
        "nobody": share(None, None, None),
    }
    section = report["protocols"]["temporal"]
    section |= {"subject": "home", "slices": {"cold items": {"systems": cold}}}
    section["systems"]["home"] = section["systems"]["engine"]
    assert describe_report(report)[2] == (
        "Where it is hard, the next item is in the first ten: 0.19 % for cold items (0.12 to "
        "0.50), far below retriever with 3.9 % and content with 3.3 %."
    )


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
    assert (seconds(0.421), seconds(12.34), seconds(125)) == ("0.42 s", "12.3 s", "2 min 05 s")
    assert interval({"low": 0.1, "high": 0.2}) == "0.100 to 0.200"


def test_seconds_that_round_up_to_a_minute_are_written_as_one():
    assert seconds(59.96) == "1 min 00 s"


def test_a_surface_says_how_many_of_its_baselines_it_beats():
    report = report_world()
    verdicts = ("better", "worse", "better", "too small to tell")
    report["surfaces"]["cart"]["comparisons"] = [
        {"metric": "nDCG@10", "baseline": f"b{n}", "verdict": v} for n, v in enumerate(verdicts)
    ]
    assert (
        ": cart 0.545 (0.460 to 0.631), better than 2 of 4, worse than 1 of 4; search "
        in (describe_report(report)[3])
    )
