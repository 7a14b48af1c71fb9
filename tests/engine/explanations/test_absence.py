import re

import numpy as np
from wire_client import WireClient

from serendip.data import Event, Query
from serendip.engine.engine import Engine
from serendip.engine.explanations.absence import STAGES, AbsenceFinder
from serendip.engine.request import Absence, Request
from serendip.engine.stages.filters import REQUEST_FILTERS, NotRejected, NotSeen
from serendip.engine.stages.list_filters import MinValueConfig, MinValueFilter, RelevanceFilter
from serendip.engine.stages.list_rules import DiversityConfig
from serendip.engine.stages.pipeline import answer_queries
from serendip.engine.stages.surfaces import SurfaceConfig

BOTH = {"popularity": 30, "retriever": 30}


def find(
    engine: Engine, surface: SurfaceConfig, item: int, k: int = 5, query: Query | None = None
) -> Absence | None:
    asked = query or Query("home", history=engine.queries([Request("home", "u0")])[0].history)
    (result,) = answer_queries([asked], surface, engine.state)
    request = Request("shelf", k=k)
    return AbsenceFinder(request, asked, surface, engine.state, result).find(item)


def listed(engine: Engine, surface: SurfaceConfig) -> list[int]:
    query = Query("home", history=engine.queries([Request("home", "u0")])[0].history)
    return answer_queries([query], surface, engine.state)[0].items.item_nums.tolist()


def test_every_item_is_shown_or_told_why_not(reader: Engine) -> None:
    request = Request("home", "u0", k=5)
    shown = [item.item_id for item in reader.recommend(request).items]
    seen = {event.item_id for event in reader.history("u0", 1000)}
    for item_id in reader.state.catalogue.vocabulary.ids:
        absence = reader.explain(request, item_id).absence
        assert (absence is None) == (item_id in shown)
        if absence is not None:
            assert absence.text
            assert absence.change
            assert (absence.stage == "seen") == (item_id in seen)


def test_what_the_user_rejected_or_asked_about_is_told_and_every_stage_has_sentences(
    engine: Engine,
) -> None:
    engine.add_events([Event("u0", "i5", 2e9, "hide")])
    hidden = engine.explain(Request("home", "u0"), "i5").absence
    assert (hidden.kind, hidden.stage) == ("filter", "rejected")
    asked = engine.explain(Request("similar", item_ids=("i5",)), "i5").absence
    assert (asked.kind, asked.stage) == ("filter", "context")
    assert engine.explain(Request("home", "u1"), "i5").absence != hidden
    removing = [*REQUEST_FILTERS, NotRejected("home"), NotSeen(), RelevanceFilter, MinValueFilter]
    told = {stage.name for stage in removing} - {"deleted", "available"}  # those are unknown items
    assert told <= set(STAGES)


def test_a_filter_of_the_settings_is_named(reader: Engine) -> None:
    surface = SurfaceConfig(task="home", sources={"popularity": 60}, filters=("genre=comedy",))
    query = Query("home")
    kept = set(answer_queries([query], surface, reader.state)[0].items.item_nums.tolist())
    absent = next(number for number in range(60) if number not in kept)
    absence = find(reader, surface, absent, 60, query)
    assert (absence.kind, absence.stage) == ("filter", "genre=comedy")
    assert "genre=comedy" in absence.text
    assert "[surfaces.shelf]" in absence.change


def test_an_item_further_down_has_a_score_that_is_not_above_the_last_shown(reader: Engine) -> None:
    surface = SurfaceConfig(task="home", sources=BOTH, filters=("seen",))
    items = listed(reader, surface)
    assert find(reader, surface, items[4]) is None
    absence = find(reader, surface, items[7])
    assert absence.kind == "score"
    assert absence.score <= absence.last_score
    assert absence.text.startswith("It is number 8: ")
    assert find(reader, surface, items[7], k=8) is None


def test_an_item_that_no_source_proposed_is_told_where_it_would_stand(reader: Engine) -> None:
    wide = SurfaceConfig(task="home", sources=BOTH, filters=("seen",))
    narrow = SurfaceConfig(
        task="home", sources={"popularity": 5, "retriever": 5}, filters=("seen",)
    )
    proposed = listed(reader, narrow)
    ranked = listed(reader, wide)
    absent = next(item for item in ranked if item not in proposed)
    absence = find(reader, narrow, absent)
    assert (absence.kind, absence.stage) == ("candidates", "")
    assert absence.score is not None
    place = int(re.search(r"number (\d+)", absence.text)[1])
    also = np.array(sorted({*proposed, absent}), np.int32)
    order = [item for item in ranked if item in also]
    assert place == order.index(absent) + 1
    assert "retriever" in absence.change


def test_a_list_filter_and_the_end_of_a_list_are_named(reader: Engine) -> None:
    plain = SurfaceConfig(task="home", sources=BOTH, filters=("seen",))
    items = listed(reader, plain)
    query = Query("home", history=reader.queries([Request("home", "u0")])[0].history)
    scores = answer_queries([query], plain, reader.state)[0].items.scores
    config = MinValueConfig(k=3, min_items=1, threshold=float(scores[6] + scores[7]) / 2)
    message = plain.model_copy(update={"min_value": config})
    below = find(reader, message, items[-1], k=10)
    assert (below.kind, below.stage) == ("list filter", "min value")
    assert below.score < config.threshold
    beyond = find(reader, message, items[4], k=10)
    assert (beyond.kind, beyond.stage) == ("length", "")
    assert "3 items" in beyond.text


def test_what_diversity_moved_is_told(reader: Engine) -> None:
    plain = SurfaceConfig(task="home", sources=BOTH, filters=("seen",))
    diverse = plain.model_copy(update={"diversity": DiversityConfig(most=1, window=5)})
    before, after = listed(reader, plain)[:5], listed(reader, diverse)[:5]
    moved = [item for item in before if item not in after]
    assert moved
    for item in moved:
        absence = find(reader, diverse, item)
        assert (absence.kind, absence.stage) == ("rule", "moved by diversity")
        assert absence.score > absence.last_score


def test_the_api_tells_why_not_in_the_language_of_the_caller(reader: Engine) -> None:
    client, korean = WireClient(reader), {"accept-language": "ko-KR,ko;q=0.9,en;q=0.8"}
    asked = {"item_id": reader.history("u0", 1)[0].item_id, "user_id": "u0"}
    told = client.get("/v1/explain", params=asked, headers=korean).json()["absence"]
    assert told == client.post("/v1/explain", json=asked, headers=korean).json()["absence"]
    assert told == client.get("/v1/explain", params={**asked, "language": "ko"}).json()["absence"]
    assert (told["kind"], told["stage"], told["score"]) == ("filter", "seen", None)
    assert told["text"] == "이미 선택했거나 거절한 항목입니다"
    in_english = client.get("/v1/explain", params={**asked, "language": "en"}, headers=korean)
    assert in_english.json()["absence"]["text"] == "You have chosen or rejected it already"
    first = client.get("/v1/recommend", params={"user_id": "u0"}).json()["items"][0]["item_id"]
    shown = client.get("/v1/explain", params={"item_id": first, "user_id": "u0"}).json()
    assert (shown["position"], shown["absence"]) == (0, None)
    page = client.get("/why", params={"item_id": asked["item_id"], "user": "u0"}).text
    assert "You have chosen or rejected it already." in page
    assert client.get("/v1/explain", params={**asked, "language": "ko_KR"}).status_code == 422
