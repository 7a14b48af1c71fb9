import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from postgres_server import on_both_databases

from serendip.data import Item
from serendip.data.artefact import VALUE_FILE
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state_parts import open_state
from serendip.errors import ArtefactError, DataError, UnknownItemError


def ids(answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_a_misspelt_title_comes_first_and_has_the_vector_of_the_correct_one(reader: Engine) -> None:
    assert ids(reader.search("The comedy tale number 7"))[0] == "i7"
    assert ids(reader.search("the comedy tael number 7"))[0] == "i7"

    (misspelt,) = reader.queries([Request("search", text="the comedy tael number 7")])
    (correct,) = reader.queries([Request("search", text="The comedy tale number 7")])
    assert misspelt.text_vector is not None
    assert correct.text_vector is not None
    assert misspelt.text == "the comedy tael number 7"
    assert np.array_equal(misspelt.text_vector, correct.text_vector)
    for text in ("", "   ", "!!!", "\ud800", "💥"):
        assert reader.search(text).items == ()


@pytest.mark.parametrize(
    "text",
    ["THE COMEDY", "  the   Comedy ", "thé cômedy", "ＴＨＥ　ｃｏｍｅｄｙ", "t\u200bhe comedy"],
)
def test_case_accents_width_and_spaces_change_nothing(reader: Engine, text: str) -> None:
    plain, other = reader.search("the comedy", k=20), reader.search(text, k=20)
    assert [(item.item_id, item.score) for item in other.items] == [
        (item.item_id, item.score) for item in plain.items
    ]
    assert other.understood.searched == text  # people see what they typed


def test_words_that_no_item_has_are_searched_by_meaning_alone(reader: Engine) -> None:
    answer = reader.search("austere bagpipe")
    assert answer.items
    assert answer.understood.by_meaning
    assert answer.understood.unknown == ("austere", "bagpipe")
    partly_known = reader.search("comedy qqwwq").understood
    assert (partly_known.by_meaning, partly_known.unknown) == (False, ("qqwwq",))


def test_a_broken_synonym_table_is_logged_and_left_out(
    shop: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = "term,also,state,confidence,source\nfunny,comedy,accepted,1,people\n"
    for line, has_hits in (("", True), ("spooky,horror,perhaps,1,people\n", False)):
        (shop / "synonyms.csv").write_text(head + line)
        with closing(Engine.open(shop)) as opened:
            trace = opened.explain(Request("search", text="funny"), "i1").trace
        assert (trace["from words"] > 0) == has_hits
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "synonyms.csv:3" in record.getMessage()


@on_both_databases
def test_a_posted_item_is_found_and_recommended_at_once_and_never_after_its_deletion(
    engine: Engine, shop: Path
) -> None:
    twin = Item("new", "The horror tale number 0", "", {"genre": "horror"})
    assert engine.add_items([twin]) == 1
    assert "new" in ids(engine.search("the horror tale number 0"))[:2]
    assert "new" in ids(engine.similar("i0", k=100))
    assert "new" in ids(engine.recommend(Request("home", "u0", k=100)))
    assert engine.delete_item("new")
    answers = [
        engine.search("the horror tale number 0", k=100),
        engine.similar("i0", k=100),
        engine.recommend(Request("home", "u0", k=100)),
    ]
    assert all("new" not in ids(answer) for answer in answers)
    assert engine.item("new") is None
    with pytest.raises(UnknownItemError, match="'new'"):
        engine.similar("new")
    reopened = Engine.open(shop)
    assert "new" not in ids(reopened.search("the horror tale number 0", k=100))
    reopened.close()


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(reader: Engine, k: int) -> None:
    with pytest.raises(DataError, match=f"k = {k}"):
        reader.recommend(Request("home", k=k))


def test_a_state_with_unknown_settings_must_be_trained_again(shop: Path) -> None:
    folder = shop / "generations" / "gen-1"
    model = folder / "models" / "transitions" / VALUE_FILE
    document = json.loads(model.read_text())
    document["values"]["config"]["values"]["vector_weight"] = 1.0
    model.write_text(json.dumps(document))
    with pytest.raises(ArtefactError, match="vector_weight") as refused:
        open_state(folder)
    assert "Train it again" in refused.value.hint


def test_an_answer_has_the_searched_text_and_a_literal_search_is_not_corrected(
    reader: Engine,
) -> None:
    corrected = reader.search("the comedy tael number 7").understood
    assert (corrected.searched, corrected.is_corrected) == ("The comedy tale number 7", True)
    literal = reader.search("the comedy tael number 7", literal=True).understood
    assert (literal.searched, literal.is_corrected) == ("the comedy tael number 7", False)
    assert literal.unknown == ("tael",)
    assert reader.recommend(Request("home", "u0")).understood is None
