"""Queries by an LLM are learned by the ranker alone, and by nothing that reads their answer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from generated_rows import use_queries
from small_shop import import_shop

from serendip.content.fusion import TEXT_ONLY
from serendip.data.store.tables.generated import Generated
from serendip.data.store.tables.generated_items import text_digest
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.llm.texts import write_query_texts
from serendip.jobs.suggestions.parts import Phrases, is_for_texts
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions

BY_LLM = {f"an evening of {word}": f"i{number}" for number, word in enumerate("abcdefghijklmnop")}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop")
    use_queries(Workspace.open(folder), BY_LLM)
    return folder


def learned_by_ranker(shop: Path, scratch: Path) -> set[str]:
    context = JobContext.open(shop)
    dataset = context.dataset
    examples = Fitter(context, scratch).written_searches(
        dataset.catalogue, dataset.item_counts(), TEXT_ONLY, 100
    )
    for text, item in zip(examples.texts, examples.items.tolist(), strict=True):
        assert BY_LLM.get(text, dataset.catalogue[item].item_id) == dataset.catalogue[item].item_id
    return {*examples.texts} & BY_LLM.keys()


def test_the_ranker_learns_them_and_the_retriever_does_not(shop: Path, tmp_path: Path) -> None:
    assert learned_by_ranker(shop, tmp_path) == BY_LLM.keys()
    context = JobContext.open(shop)
    prepared = Fitter(context, tmp_path).prepare(context.dataset, TrainOptions(0)).dataset
    assert prepared.queries is not None
    assert not {*prepared.queries.texts} & BY_LLM.keys()


def test_nothing_is_learned_from_a_query_that_is_in_the_text_of_its_item(
    shop: Path, tmp_path: Path
) -> None:
    write_query_texts(JobContext.open(shop))
    with closing(JobContext.open(shop).workspace.open_store()) as store:
        texts = store.generated.rows("text")
        store.generated.activate(texts, "text")
    catalogue = JobContext.open(shop).dataset.catalogue
    read = {*", ".join(item.generated_text for item in catalogue.items).split(", ")} - {""}
    learned = learned_by_ranker(shop, tmp_path)
    assert read and learned and not read & learned
    assert read | learned == BY_LLM.keys()
    # Of texts that have queries of the other half too.
    query = next(text for text in BY_LLM if not is_for_texts(text))
    item = catalogue[catalogue.vocabulary.number(BY_LLM[query])]
    key = "text", item.item_id, "queries", "queries"
    more = Generated(*key, query, "m", "p", text_digest(item))  # type: ignore[arg-type]
    with closing(JobContext.open(shop).workspace.open_store()) as store:
        store.generated.put([more])
        store.generated.activate([*texts, more], "text")
    assert learned_by_ranker(shop, tmp_path) == learned - {query}


def test_phrases_are_whole_words_of_one_text() -> None:
    phrases = Phrases(["An Evening of a, cheap kayaks", "red boat", ""])
    assert all(text in phrases for text in ("evening of A", "CHEAP kayaks", "red", "a cheap"))
    assert not any(text in phrases for text in ("kayak", "kayaks red", "boats", "", "!"))
