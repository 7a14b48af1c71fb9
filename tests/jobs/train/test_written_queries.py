"""Queries by an LLM reach the retriever with their weight, and a gate compares searches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_shop import import_shop

from serendip.content.fusion import TEXT_ONLY
from serendip.data.store.tables.generated_texts import GeneratedText, text_digest
from serendip.engine.artefacts.generations import open_in_force, publish
from serendip.engine.workspace import Workspace
from serendip.evaluate.decision import DECISIONS, Decision, write_decisions
from serendip.jobs.context import JobContext
from serendip.jobs.enrich.write import collect_queries
from serendip.jobs.suggestions.build import save_written_queries
from serendip.jobs.suggestions.parts import Phrases, part_of
from serendip.jobs.surface_quality.record import RECORD_FILE, QualityRecord, RecordedSurface
from serendip.jobs.train import written_queries
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.written_queries import (
    GATE,
    MANIFEST_KEY,
    check_written_queries,
    describe_use,
    select_for_ranker,
    select_for_retriever,
)
from serendip.runtime.progress import TrainOptions

BY_LLM = {f"an evening of {word}": f"i{number}" for number, word in enumerate("abcdefghijklmnop")}
USE, OTHER = "12 queries, weight 0.5, abc", "13 queries, weight 0.5, abd"


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_queries, "FEWEST", 1)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop")
    save_written_queries(Workspace.open(folder), BY_LLM)
    return folder


def weigh(shop: Path, weight: float) -> JobContext:
    settings = shop / "serendip.toml"
    settings.write_text(settings.read_text() + f"\n[queries]\ntraining_weight = {weight}\n")
    return JobContext.open(shop)


def test_at_weight_0_the_retriever_learns_the_same_with_and_without_written_queries(
    shop: Path, tmp_path: Path
) -> None:
    context = JobContext.open(shop)
    with_queries = Fitter.of(context, tmp_path).prepare(context.dataset, TrainOptions(0))
    plain = import_shop(tmp_path / "plain")
    other = JobContext.open(plain)
    without = Fitter.of(other, tmp_path).prepare(other.dataset, TrainOptions(0))
    assert with_queries.dataset.queries is not None and without.dataset.queries is not None
    assert [*with_queries.dataset.queries.texts] == [*without.dataset.queries.texts]
    np.testing.assert_array_equal(with_queries.dataset.queries.items, without.dataset.queries.items)
    assert with_queries.dataset.queries.weights is None
    use = describe_use(context.workspace, context.settings, context.dataset.catalogue)
    assert use == ""


def test_with_a_weight_it_learns_them_after_all_others(shop: Path, tmp_path: Path) -> None:
    context = weigh(shop, 0.25)
    catalogue = context.dataset.catalogue
    queries = Fitter.of(context, tmp_path).prepare(context.dataset, TrainOptions(0)).dataset.queries
    assert queries is not None and queries.weights is not None
    is_by_llm = np.array([text in BY_LLM for text in queries.texts])
    assert 0 < is_by_llm.sum() < len(BY_LLM)
    assert is_by_llm[-int(is_by_llm.sum()) :].all()
    assert set(queries.weights[is_by_llm].tolist()) == {0.25}
    assert set(queries.weights[~is_by_llm].tolist()) == {1.0}
    assert np.array_equal(queries.checked, ~is_by_llm)
    for row in np.flatnonzero(is_by_llm).tolist():
        assert catalogue[int(queries.items[row])].item_id == BY_LLM[queries.texts[row]]
    use = describe_use(context.workspace, context.settings, catalogue)
    assert use.startswith(f"{int(is_by_llm.sum())} queries, weight 0.25, ")


def test_few_queries_are_not_learned(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = weigh(shop, 0.25)
    catalogue, config = context.dataset.catalogue, context.settings.queries
    assert select_for_retriever(context.workspace, config, catalogue)
    monkeypatch.setattr(written_queries, "FEWEST", 100)
    assert not select_for_retriever(context.workspace, config, catalogue)
    use = describe_use(context.workspace, context.settings, catalogue)
    assert use == ""


def test_the_ranker_is_asked_nothing_that_the_retriever_has_learned(
    shop: Path, tmp_path: Path
) -> None:
    plain = JobContext.open(shop)
    catalogue = plain.dataset.catalogue
    everything = select_for_ranker(plain.workspace, plain.settings.queries, catalogue, 100)
    assert {query.text for query in everything} == BY_LLM.keys()
    shared = weigh(shop, 1.0)
    config = shared.settings.queries
    of_ranker = select_for_ranker(shared.workspace, config, catalogue, 100)
    of_retriever = select_for_retriever(shared.workspace, config, catalogue)
    texts = [{query.text for query in part} for part in (of_ranker, of_retriever)]
    assert texts[0] and texts[1]
    assert texts[0] | texts[1] == BY_LLM.keys()
    assert not texts[0] & texts[1]
    # The same ones in a catalogue of a part of the items: what the older part learns is not asked.
    fewer = catalogue.rows(np.arange(8, dtype=np.int32))
    asked = {query.text for query in select_for_ranker(shared.workspace, config, fewer, 100)}
    assert asked < texts[0]
    written = Fitter.of(shared, tmp_path).written_searches(
        catalogue, shared.dataset.item_counts(), TEXT_ONLY, 30
    )
    assert {*written.texts} & BY_LLM.keys() == texts[0]
    only_fields = config.model_copy(update={"sources": ("fields",)})
    assert select_for_retriever(shared.workspace, only_fields, catalogue) == []


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_nothing_is_learned_from_a_query_that_is_in_the_text_of_its_item(
    shop: Path, weight: float
) -> None:
    context = weigh(shop, weight)
    texts = collect_queries(context.workspace, context.dataset)
    with closing(context.workspace.open_store()) as store:
        store.generated_texts.put(texts)
        assert store.generated_texts.activate(texts) == len(texts) > 0
    context = JobContext.open(shop)
    catalogue, config = context.dataset.catalogue, context.settings.queries
    read = ", ".join(item.generated_text for item in catalogue.items).split(", ")
    of_ranker = select_for_ranker(context.workspace, config, catalogue, 100)
    of_retriever = select_for_retriever(context.workspace, config, catalogue)
    parts = [
        {*read} - {""},
        *({query.text for query in part} for part in (of_ranker, of_retriever)),
    ]
    assert [bool(part) for part in parts] == [True, True, weight > 0]
    assert set().union(*parts) == BY_LLM.keys()
    assert sum(map(len, parts)) == len(BY_LLM)
    # Of texts that have queries of another part too, whatever it is.
    (item_id, query) = next((BY_LLM[text], text) for text in BY_LLM if part_of(text) == "ranker")
    item = catalogue[catalogue.vocabulary.number(item_id)]
    more = GeneratedText(item_id, "queries", "queries", query, "m", "p", text_digest(item))
    with closing(context.workspace.open_store()) as store:
        store.generated_texts.put([more])
        store.generated_texts.activate([*texts, more])
    catalogue = JobContext.open(shop).dataset.catalogue
    asked = {query.text for query in select_for_ranker(context.workspace, config, catalogue, 100)}
    assert asked == parts[1] - {query}


def record_of(values: list[float]) -> QualityRecord:
    keys = np.arange(len(values), dtype=np.uint64)
    column = np.array(values)[:, None]
    return QualityRecord({"search": RecordedSurface(keys, keys, np.array(["all"]), column)})


def put_in_force(
    workspace: Workspace,
    record: QualityRecord,
    use: str,
    gates: Sequence[Decision] = (),
) -> None:
    """Publish nothing but a record, what was learned from written queries, and the gates."""
    facts = {MANIFEST_KEY: use, DECISIONS: {"gates": write_decisions(gates)}}
    publish(workspace.generations, lambda folder: record.save(folder / RECORD_FILE), facts)


BEFORE = [0.5 + 0.01 * (number % 5) for number in range(60)]


def test_a_training_with_written_queries_must_not_lose_any_search(shop: Path) -> None:
    workspace = Workspace.open(shop)
    place = workspace.generations

    def check(use: str, record: QualityRecord | None) -> list[Decision]:
        return check_written_queries(use, record, open_in_force(place), ["search"])

    put_in_force(workspace, record_of(BEFORE), "")
    assert check("", record_of([0.0] * 60)) == []
    (better,) = check(USE, record_of([value + 0.1 for value in BEFORE]))
    assert better.on and better.name == GATE
    assert better.reason.startswith(f"{USE}; search, all: nDCG@10 0.5200 -> 0.6200 (+0.1000")
    # A loss of 1 % that is shown: the gate of all surfaces tolerates it, this one does not.
    (worse,) = check(USE, record_of([value - 0.005 for value in BEFORE]))
    assert not worse.on
    noisy = [value + (0.2 if number % 2 else -0.201) for number, value in enumerate(BEFORE)]
    (unclear,) = check(USE, record_of(noisy))
    assert unclear.on


def test_what_was_not_measured_does_not_pass(shop: Path) -> None:
    workspace = Workspace.open(shop)
    place = workspace.generations

    def check(record: QualityRecord | None, use: str = USE) -> Decision:
        (result,) = check_written_queries(use, record, open_in_force(place), ["search"])
        return result

    first = check(record_of(BEFORE))
    assert not first.on and "not measured: no generation is in force" in first.reason
    assert "training_weight = 0" in first.reason
    put_in_force(workspace, record_of(BEFORE), "")
    few = check(record_of(BEFORE[:20]))
    assert not few.on and "too few users have searched" in few.reason
    without_record = check(None)
    assert not without_record.on and "the data are too few" in without_record.reason
    # Published by force: neither the same queries nor others are compared with anything by it.
    put_in_force(workspace, record_of(BEFORE), USE, [few])
    for use in (USE, OTHER):
        later = check(record_of(BEFORE), use)
        assert not later.on and "not measured" in later.reason


def test_the_same_queries_are_measured_once_and_others_again(shop: Path) -> None:
    workspace, other = Workspace.open(shop), OTHER
    place = workspace.generations

    def check(use: str, values: list[float]) -> list[Decision]:
        return check_written_queries(use, record_of(values), open_in_force(place), ["search"])

    put_in_force(workspace, record_of(BEFORE), "")
    gates = check(USE, BEFORE)
    for _ in range(2):  # The second generation knows it from the first.
        put_in_force(workspace, record_of(BEFORE), USE, gates)
        gates = check(USE, [0.0] * 60)
        assert gates[0].on and "the same ones" in gates[0].reason
    (worse,) = check(other, [value - 0.1 for value in BEFORE])
    assert not worse.on and "nDCG@10" in worse.reason
    (equal,) = check(other, BEFORE)
    assert equal.on


def test_phrases_are_whole_words_of_one_text() -> None:
    phrases = Phrases(["An Evening of a, cheap kayaks", "red boat", ""])
    assert all(text in phrases for text in ("evening of A", "CHEAP kayaks", "red", "a cheap"))
    assert not any(text in phrases for text in ("kayak", "kayaks red", "boats", "", "!"))
