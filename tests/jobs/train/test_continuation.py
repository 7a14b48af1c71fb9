from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import WITHOUT_SEARCHES, add_settings
from stand import NEW, publish_with, train

from serendip.content.fusion import TEXT_ONLY, Block, Fusion
from serendip.data import Event, Vocabulary
from serendip.engine.artefacts.generations import open_current, open_in_force
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state_parts import open_state
from serendip.engine.workspace import Workspace
from serendip.errors import UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.exports.embeddings import embed
from serendip.jobs.train.continuation import OlderFit, choose_start
from serendip.jobs.train.engine_fit import fit_ranker
from serendip.jobs.train.fit import Fitter
from serendip.jobs.train.space import open_space, require_retriever
from serendip.jobs.train.train import train_workspace
from serendip.models.embedding_space import MIN_AGREEMENT
from serendip.models.linalg import mean_cosine
from serendip.runtime.progress import TrainOptions


def put_events(shop: Path, count: int) -> None:
    with Workspace.open(shop).open_store() as store:
        store.put_events(
            Event(f"late{row % 9}", f"i{row % 60}", 1.7e9 + row, "rate", 5.0)
            for row in range(count)
        )


def reason_for(shop: Path) -> str:
    previous, facts = choose_start(JobContext.open(shop), open_in_force(shop / "generations"))
    assert (previous is None) == (facts["generation"] == "")
    return str(facts["reason"])


def older_of(fusion: Fusion) -> OlderFit:
    learned = {
        "retriever": {
            "tower.ids": np.linspace(-3, 3, 7, dtype=np.float32),
            "wide": np.array([1e6, 1e-6], np.float32),
            "codes": np.array([[1, 2]], np.int32),
            "seen": np.array([True, False]),
        },
        "item-knn": {},
    }
    return OlderFit(Vocabulary(["a", "ß"]), fusion, learned, 12.5)


@pytest.mark.parametrize("modalities", [0, 2])
def test_what_is_saved_is_opened(tmp_path: Path, modalities: int) -> None:
    fusion = pictures_and_texts() if modalities else TEXT_ONLY
    saved = older_of(fusion)
    saved.save(tmp_path / "older")
    found = OlderFit.open(tmp_path / "older")
    assert (found.items, found.until) == (saved.items, 12.5)
    assert list(found.fusion.blocks) == list(fusion.blocks)
    for name, array in saved.learned["retriever"].items():
        opened = found.learned["retriever"][name]
        assert opened.dtype == array.dtype
        np.testing.assert_allclose(opened, array, rtol=1e-3)
    start = found.start("retriever", Vocabulary(["new", "ß"]), found.fusion)
    assert start is not None and start.rows.tolist() == [-1, 1]


def pictures_and_texts() -> Fusion:
    block = Block(np.zeros(4, np.float32), np.ones((4, 2), np.float32))
    return Fusion({"text": block, "image": block})


def test_content_of_another_fusion_is_learned_from_nothing() -> None:
    fusion = pictures_and_texts()
    older = older_of(fusion)
    assert older.start("retriever", Vocabulary(["a"]), fusion) is not None
    assert older.start("retriever", Vocabulary(["a"]), pictures_and_texts()) is not None
    moved = {name: replace(block, mean=block.mean + 1) for name, block in fusion.blocks.items()}
    turned = Fusion(moved)
    assert older.start("retriever", Vocabulary(["a"]), turned) is None
    assert older.start("retriever", Vocabulary(["a"]), TEXT_ONLY) is None
    assert older_of(TEXT_ONLY).start("retriever", Vocabulary(["a"]), fusion) is None


def test_a_training_continues_and_the_next_one_continues_from_it(shop: Path) -> None:
    nothing = open_current(shop / "generations").manifest  # of a training that was not warm
    assert nothing["warm_start"]["generation"] == nothing["warm_start"]["reason"] == ""
    assert nothing["warm_start"]["since"] == nothing["counts"]["events"]
    put_events(shop, 60)
    add_settings(shop, WITHOUT_SEARCHES)
    first = train_workspace(JobContext.open(shop), warm=True)
    facts = first.manifest["warm_start"]
    assert (facts["generation"], facts["reason"]) == ("gen-1", "")
    assert facts["since"] == first.manifest["counts"]["events"] - 60
    _, second = choose_start(JobContext.open(shop), first)
    assert second == {"generation": "gen-2", "reason": "", "since": facts["since"]}
    events = first.manifest["counts"]["events"]
    unwanted = {"generation": "", "reason": "", "since": events}
    assert choose_start(JobContext.open(shop), first, False) == (None, unwanted)


def test_it_does_not_where_what_was_learned_means_something_else(shop: Path) -> None:
    assert reason_for(shop) == ""
    path = shop / "serendip.toml"
    text = path.read_text()
    path.write_text(text.replace("[ranker]\nepochs = 2", "[ranker]\nepochs = 3"))
    assert reason_for(shop) == ""
    for old, new, key in (
        ('"title", "genre"', '"title"', "content.fields"),
        ("max_len = 10", "max_len = 9", "models.retriever.max_len"),
    ):
        path.write_text(text.replace(old, new))
        assert reason_for(shop) == f"the setting {key} has changed"
    path.write_text(text)
    publish_with(shop, encoder="hashing 0")
    assert reason_for(shop) == "the encoder was hashing 0"


def test_it_does_not_after_an_erasure(shop: Path) -> None:
    with Workspace.open(shop).open_store() as store:
        assert store.erase_user("u1")
    assert reason_for(shop) == "events were imported again or erased"


def test_it_does_not_after_the_events_have_grown_by_half(shop: Path) -> None:
    put_events(shop, 200)
    assert reason_for(shop) == ""
    put_events(shop, 100)
    assert "have grown from" in reason_for(shop)


def test_it_does_not_without_a_generation_or_a_fit_of_it(fresh: Path, stand: Path) -> None:
    assert reason_for(fresh) == "there is no generation"
    assert reason_for(stand) == "gen-1 has no fit to continue from"


def test_a_fit_on_the_older_part_begins_from_an_earlier_one(fresh: Path, tmp_path: Path) -> None:
    context = JobContext.open(fresh)
    fitter, options = Fitter(context, tmp_path), TrainOptions()
    dataset, content = context.dataset, fitter.build_content(context.dataset, options)
    afresh = fit_ranker(fitter, dataset, content, "nothing", options).older
    continued = fit_ranker(fitter, dataset, content, "same", options, afresh).older
    before, other = (fit.learned["retriever"]["network/tower.ids"] for fit in (afresh, continued))
    assert not np.allclose(before, other, atol=1e-3)


def test_a_generation_keeps_the_codes_of_the_one_before(stand: Path) -> None:
    before = open_state(stand / "generations" / "gen-1")
    with Workspace.open(stand).open_store() as store:
        store.put_items([NEW])
    trained = train(stand, seed=7)
    facts = trained.manifest["semantic_ids"]
    after = open_state(trained.folder)
    kept = after.features.codes[: before.num_items] == before.features.codes
    assert facts["kept"][:-1] == pytest.approx(kept.mean(0).tolist())
    assert facts["kept"][0] > 0.9
    np.testing.assert_array_equal(
        after.codebooks.assign(np.asarray(after.features.content)), after.features.codes
    )


def test_other_settings_start_afresh(stand: Path) -> None:
    add_settings(stand, "\n[semantic_ids]\nnum_levels = 2\n")
    assert train(stand).manifest["semantic_ids"]["kept"] == []


def told_vectors(generation: Path) -> dict[str, np.ndarray]:
    state = open_state(generation)
    turned = open_space(generation).rotate(require_retriever(state).item_vectors)
    return dict(zip(state.catalogue.vocabulary.ids, turned, strict=True))


def test_the_next_training_puts_common_items_near_where_they_were(stand: Path) -> None:
    before = told_vectors(stand / "generations" / "gen-1")
    with Workspace.open(stand).open_store() as store:
        store.put_items([NEW])
    generation = train(stand, seed=7)
    told = generation.manifest["space"]
    assert (told["kept"], told["reason"], told["aligned_to"]) == (True, "", "gen-1")
    assert told["items"] == len(before)
    assert told["name"] == open_space(stand / "generations" / "gen-1").name
    after = told_vectors(generation.folder)
    assert set(after) == {*before, "new"}
    pair = [np.stack([vectors[name][:16] for name in before]) for vectors in (before, after)]
    own = require_retriever(open_state(generation.folder)).item_vectors[: len(before), :16]
    nearness, unturned = mean_cosine(*pair), mean_cosine(pair[0], own)
    # Items that the turn was not fitted to are a little further away.
    assert nearness >= told["agreement"]["network"] >= MIN_AGREEMENT
    assert nearness > unturned
    assert train(stand).manifest["space"]["aligned_to"] == "gen-1"


def test_a_split_of_tasks_has_no_space_and_serves(stand: Path) -> None:
    before = (stand / "serendip.toml").read_text()
    add_settings(stand, '\n[unified]\ngroups = [["home", "similar"], ["search"]]\n')
    generation = train(stand)
    assert generation.manifest["space"]["name"] == ""
    assert "separate retrievers" in generation.manifest["space"]["reason"]
    with Engine.open(stand) as engine:
        for surface in ("home", "search", "similar"):
            items = ["i3"] if surface == "similar" else []
            text = "horror" if surface == "search" else ""
            answer = engine.recommend(Request(surface, "u1", text=text, item_ids=items))
            assert answer.items
            assert not answer.degraded
    with pytest.raises(UnsupportedError, match="separate retrievers"):
        embed(stand, "items", None, TrainOptions())
    (stand / "serendip.toml").write_text(before)
    assert train(stand).manifest["space"]["version"] == 1
