import string
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data import FloatArray, History, IntArray, Item, Query
from serendip.engine.engine import Engine
from serendip.engine.explanations.explain import (
    GROUP,
    SENTENCES,
    Explainer,
    Ground,
    list_sentences,
)
from serendip.engine.explanations.translation import LANGUAGES, Language, translate
from serendip.engine.request import Request
from serendip.llm.reason_task import WordedReason
from serendip.models import model_class
from serendip.models.base import ScoreKind, VoteEvidence
from serendip.models.context_counts import ContextCounts, FieldCounts
from serendip.search.names import ValueTable


@dataclass(frozen=True)
class Voting:
    """A model whose context votes as it is told; one column per item."""

    context: IntArray
    given: FloatArray
    evidence: VoteEvidence | None
    score_kind: ScoreKind = "count"
    least_vote: float = 0.0

    def compute_votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        return self.context, self.given[:, : len(item_nums)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_of_a_kind_that_an_llm_can_word(
    reader: Engine, language: Language
) -> None:
    sentences = list_sentences(reader.state, language)
    assert len(sentences) > len(SENTENCES)
    for sentence in sentences.values():
        answer = WordedReason(id="x", sentence=sentence)
        assert answer.find_problem({"sentence": sentence}) in ("", "it is more than one sentence")


def test_the_strongest_votes_are_told_first(reader: Engine) -> None:
    context = np.array([1, 4, 7, 10], np.int32)
    given = np.array([[0.2, 0.0], [0.9, 0.06], [0.5, 0.04], [0.0, 0.8]], np.float32)
    models = {
        name: Voting(context, given, model_class(name).evidence)
        for name in ("item-knn", "transitions")
    }
    state = replace(reader.state, models=models)
    query, items = Query(history=History.of_items(context)), np.array([13, 16], np.int32)
    nothing = [np.nan, np.nan]
    explainer = Explainer(state, query, items)
    told = [
        [(one.kind, one.item_id, one.weight) for one in grounds if one.kind in
         ("transition", "neighbour")]
        for grounds in explainer.evidence(nothing, nothing)
    ]  # fmt: skip
    assert told == [
        [
            ("transition", "i4", 0.9),
            ("transition", "i7", 0.5),
            ("neighbour", "i4", 0.9),
            ("neighbour", "i7", 0.5),
        ],
        [
            ("transition", "i10", 0.8),
            ("transition", "i4", 0.06),
            ("neighbour", "i10", 0.8),
            ("neighbour", "i4", 0.06),
        ],
    ]
    # All four are comedies; for the second item a vote is nearly as strong, and not told yet.
    told_first = explainer.reasons(nothing, nothing)
    assert [one and one.text for one in told_first] == [
        "comedy, like 4 of the last 4 you chose",
        "Chosen next after The comedy tale number 10 or its like",
    ]
    in_korean = replace(explainer, language="ko").reasons(nothing, nothing)
    assert [one and one.text for one in in_korean] == [
        "최근 선택하신 4개 중 4개와 같은 ‘comedy’입니다",
        "‘The comedy tale number 10’이나 비슷한 항목 다음에 선택되었습니다",
    ]


def test_values_that_the_user_chooses_more_often_than_others_are_evidence(reader: Engine) -> None:
    state = replace(reader.state, models={})
    genre = state.catalogue.words(0)
    same = [item for item in range(60) if state.catalogue.words(item) == genre]
    other = next(item for item in range(60) if item not in same)
    history = History.of_items(np.array([other, *same[:3]], np.int32))
    explainer = Explainer(state, Query(history=history), np.array([same[5], other], np.int32))
    nothing = [np.nan, np.nan]
    (found,) = [one for one in explainer.evidence(nothing, nothing)[0] if one.kind == "attribute"]
    assert found.text == f"{genre[0]}, like 3 of the last 4 you chose"
    assert found.item_id == f"i{same[2]}"
    share = len(same) / 60
    assert found.weight == pytest.approx(0.75 * np.log(0.75 / share), abs=1e-4)
    assert "attribute" not in {one.kind for one in explainer.evidence(nothing, nothing)[1]}


def test_a_new_item_is_told_what_it_is_like(engine: Engine) -> None:
    engine.add_items([Item("fresh", "The horror tale number 0", "", {"genre": "horror"})])
    assert "fresh" in [item.item_id for item in engine.similar("i0").items]
    evidence = engine.explain(Request("similar", item_ids=("i0",)), "fresh").evidence
    assert "New, and like The horror tale number 0" in [one.text for one in evidence]
    assert not {one.kind for one in evidence} & {"transition", "neighbour", "popular"}


def test_popularity_in_the_country_of_the_request_is_evidence(reader: Engine) -> None:
    counts = FieldCounts.of(
        np.array([0] * 30 + [1] * 30, np.int32),
        np.array([7] * 20 + [8] * 10 + list(range(30)), np.int32),
        ("KR", "US"),
        np.zeros(60, np.int32),
    )
    context = ContextCounts(fields={"country": counts})
    state = replace(reader.state, context=context, models={})
    items, nothing = np.array([7, 50], np.int32), [np.nan, np.nan]
    told = Explainer(state, Query(country="KR"), items).evidence(nothing, nothing)
    assert ("country", "Popular in KR", 20.0) in [(e.kind, e.text, e.weight) for e in told[0]]
    assert "country" not in {one.kind for one in told[1]}
    abroad = Explainer(state, Query(country="FR"), items).evidence(nothing, nothing)
    assert "country" not in {one.kind for one in abroad[0]}


def test_a_visitor_is_told_what_is_among_the_best_of_a_value_that_many_have(reader: Engine) -> None:
    horror = [Item(f"x{n}", attributes={"genre": "horror"}) for n in range(120)]
    table = ValueTable.of(horror, -np.arange(120, dtype=np.float32))
    state = replace(reader.state, models={}, searcher=replace(reader.state.searcher, values=table))
    items, nothing = np.array([0, 30], np.int32), [np.nan, np.nan]
    told = Explainer(state, Query(), items).evidence(nothing, nothing)
    sentence = "In the top 10 by likes and popularity: horror"
    assert [sentence in [one.text for one in grounds] for grounds in told] == [True, False]
    known = Explainer(state, Query(history=History.of_items(items)), items)
    assert sentence not in [one.text for one in known.evidence(nothing, nothing)[0]]
    few = replace(state, searcher=replace(state.searcher, values=ValueTable.of(horror[:99])))
    told = Explainer(few, Query(), items).evidence(nothing, nothing)
    assert sentence not in [one.text for one in told[0]]


VOTES = [
    vote
    for name in ("item-knn", "transitions", "content")
    if (vote := model_class(name).evidence) is not None
]
TEMPLATES = {**SENTENCES, **{vote.sentence: vote.kind for vote in VOTES}}
BY_CODE = {code: template for template, code in TEMPLATES.items()}


@given(st.sampled_from([*TEMPLATES]), st.sampled_from(LANGUAGES), st.data())
def test_code_and_parts_of_a_reason_word_its_sentence(
    reader: Engine, template: str, language: Language, data: st.DataObject
) -> None:
    assert len(BY_CODE) == len(TEMPLATES)
    fields = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    numbers = dict.fromkeys(fields & {"count", "size", "share"}, st.integers(0, 10**6))
    texts = dict.fromkeys(fields - {*numbers, "title"}, st.text())
    names = data.draw(st.fixed_dictionaries({**numbers, **texts}))
    rests_on = (4,) if "title" in fields else data.draw(st.sampled_from([(), (4,)]))
    kind = TEMPLATES[template]
    ground = Ground(0, kind, 1.0, 1.0, template, names, rests_on)
    told = Explainer(reader.state, Query(), np.array([13], np.int32), language)._tell(ground)
    assert told.code == kind or template == GROUP
    assert translate(BY_CODE[told.code], language, **told.values) == told.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_reasons_of_answers_can_be_worded_from_their_code_and_parts(
    reader: Engine, language: Language
) -> None:
    asked = (
        *(Request("home", user) for user in ("", "u1", "u2")),
        *(Request("similar", "u1", item_ids=("i3",)), Request("cart", item_ids=("i3", "i4"))),
        *(Request("search", "u1", text) for text in ("horror tale", "the comedy tale number 4")),
    )
    votes = {vote.kind: vote.korean for vote in VOTES} if language == "ko" else {}
    templates, codes = {**BY_CODE, **votes}, set()
    for request in asked:
        for item in reader.recommend(replace(request, language=language)).items:
            assert bool(item.reason) == bool(item.reason_code)
            if item.reason:
                template = templates[item.reason_code]
                assert translate(template, language, **item.reason_parts) == item.reason
                codes.add(item.reason_code)
    assert len(codes) > 4
