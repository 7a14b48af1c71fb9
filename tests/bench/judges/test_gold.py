from pathlib import Path

import numpy as np
import pytest
from judged_pairs import RANKS, write_onet, write_products

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.errors import DataError
from serendip_bench.judges.gold import (
    EXTRA,
    TRAIN_ONLY,
    Gold,
    GoldPairs,
    GoldSource,
    Part,
    is_in_part,
)
from serendip_bench.judges.onet import LABELLED, NEAR_TIER, Onet
from serendip_bench.judges.products import FOLDS, JudgedProducts
from serendip_bench.judges.run import read_gold

PARTS: tuple[Part, ...] = ("dev", "test")


def open_gold(source: GoldSource) -> Gold:
    texts = source.texts.encode(open_encoder(TextEncoderConfig(name="hashing")).encode)
    return Gold.of(*texts, source.draw_pairs(*texts))


@pytest.fixture(scope="module")
def onet(tmp_path_factory: pytest.TempPathFactory) -> Onet:
    folder = tmp_path_factory.mktemp("onet")
    write_onet(folder)
    return Onet.read(folder)


@pytest.fixture(scope="module")
def gold(onet: Onet) -> Gold:
    return open_gold(onet)


@pytest.fixture(scope="module")
def all_pairs(gold: Gold) -> GoldPairs:
    return gold.pairs


@pytest.fixture(scope="module")
def pairs(all_pairs: GoldPairs) -> GoldPairs:
    return all_pairs.where(all_pairs.fold != EXTRA)


def test_training_has_extra_irrelevant_pairs(
    onet: Onet, all_pairs: GoldPairs, pairs: GoldPairs
) -> None:
    extra = all_pairs.where(all_pairs.fold == EXTRA)
    assert extra.is_irrelevant.all()
    regular = set(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    extra_pairs = list(zip(extra.queries.tolist(), extra.items.tolist(), strict=True))
    assert len(set(extra_pairs)) == len(extra_pairs)
    assert not regular & set(extra_pairs)
    train = pairs.where(pairs.fold == TRAIN_ONLY)
    assert set(extra.queries.tolist()) <= set(train.queries.tolist())
    test = pairs.where(pairs.is_test)
    assert not set(extra.items.tolist()) & set(test.items.tolist())
    assert len(train.is_irrelevant) // 2 < len(extra) <= 2 * train.is_irrelevant.sum()
    family = len(RANKS)
    for title, item in extra_pairs:
        assert item // family not in {job // family for job in onet.occupations[title]}


def test_relevant_are_the_nearest_occupations_and_irrelevant_as_many_unrelated_ones(
    onet: Onet, pairs: GoldPairs
) -> None:
    for title in np.unique(pairs.queries).tolist():
        relevant = set(pairs.items[(pairs.queries == title) & ~pairs.is_irrelevant].tolist())
        jobs = onet.occupations[title]
        allowed = jobs | {other for job in jobs for other in onet.relatives[NEAR_TIER][job]}
        assert jobs <= relevant <= allowed

    family = len(RANKS)
    for title in np.unique(pairs.queries).tolist():
        of_title = pairs.queries == title
        irrelevant = pairs.items[of_title & pairs.is_irrelevant]
        assert len(irrelevant) == (of_title & ~pairs.is_irrelevant).sum()
        assert len(np.unique(irrelevant)) == len(irrelevant)
        assert not set(irrelevant // family) & {job // family for job in onet.occupations[title]}


@pytest.mark.parametrize("kind", ["served", "unseen"])
def test_slates_hold_occupations_for_test_titles(
    onet: Onet, gold: Gold, pairs: GoldPairs, kind: str
) -> None:
    ranked = onet.rank_slates(gold)[0][kind]
    slates, test = ranked.pairs, pairs.where(pairs.is_test)
    assert set(np.unique(slates.queries)) == set(np.unique(test.queries))
    assert set(np.unique(test.items)) <= set(np.unique(slates.items))
    has_train_items = bool(set(slates.items.tolist()) & set(pairs.items[~pairs.is_test].tolist()))
    assert has_train_items == (kind == "served")
    family = len(RANKS)
    for title in np.unique(slates.queries).tolist():
        of_title = slates.queries == title
        assert len(np.unique(slates.items[of_title])) == of_title.sum()
        related = np.isin(
            slates.items[of_title] // family, [job // family for job in onet.occupations[title]]
        )
        assert np.array_equal(slates.is_irrelevant[of_title], ~related)
        similarity = ranked.similarity[of_title]
        assert similarity[related].mean() > similarity[~related].mean()


def test_filters_are_trained_on_slates_without_test_pairs(
    onet: Onet, gold: Gold, pairs: GoldPairs
) -> None:
    _, examples = onet.rank_slates(gold)
    assert (examples.fold == TRAIN_ONLY).all()
    test, train = pairs.where(pairs.is_test), pairs.where(~pairs.is_test)
    assert not set(examples.queries.tolist()) & set(test.queries.tolist())
    assert not set(examples.items.tolist()) & set(test.items.tolist())
    assert set(examples.queries.tolist()) == set(train.queries.tolist())
    counts = np.unique(examples.queries, return_counts=True)[1]
    assert counts.tolist() == [min(LABELLED, len(np.unique(train.items)))] * len(counts)
    family = len(RANKS)
    for title, item, label in zip(
        examples.queries, examples.items, examples.is_irrelevant, strict=True
    ):
        assert label == (item // family not in {job // family for job in onet.occupations[title]})


def test_both_ends_of_a_test_pair_are_unseen_in_training(pairs: GoldPairs) -> None:
    train, test = pairs.where(pairs.fold == TRAIN_ONLY), pairs.where(pairs.fold == 0)
    assert len(train) and len(test)
    assert not set(train.items.tolist()) & set(test.items.tolist())
    assert not set(train.queries.tolist()) & set(test.queries.tolist())


def test_folds_of_products_hold_whole_queries(tmp_path: Path) -> None:
    write_products(tmp_path)
    source = JudgedProducts.read(tmp_path)
    texts, pairs = source.texts, source.pairs
    assert (len(texts.queries), len(texts.titles), len(pairs)) == (20, 60, 400)
    assert pairs.is_irrelevant.mean() == 0.8
    assert set(pairs.fold.tolist()) == set(range(FOLDS))
    folds_of = {query: set(pairs.fold[pairs.queries == query].tolist()) for query in range(20)}
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert texts.bodies[0] == "made for rooms 0. a lamp for the house"
    assert texts.passages[1] == ["home, chair", "brand 1"]


def test_a_folder_is_recognised_by_its_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no judged pairs"):
        read_gold(tmp_path)
    write_onet(tmp_path / "onet")
    assert len(read_gold(tmp_path / "onet").files) == 4
    (tmp_path / "onet" / "tasks.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_gold(tmp_path / "onet")


def test_the_parts_of_the_gold_are_halves_that_depend_on_nothing_else(tmp_path: Path) -> None:
    names = [f"query {number}" for number in range(1_000)]
    dev, test = (is_in_part(names, part) for part in PARTS)
    assert (dev ^ test).all() and 450 < test.sum() < 550
    assert is_in_part(names[::-1], "test").tolist() == test[::-1].tolist()
    assert is_in_part(["lamp 0", "chair 1"], "test").tolist() == [False, True]
    write_onet(tmp_path)
    sides = [Onet.read(tmp_path, part).split(np.random.default_rng(0)) for part in PARTS]
    (_, dev_side), (train_of_test, test_side) = sides
    assert dev_side.any() and test_side.any()
    assert not (dev_side & test_side).any()
    assert (dev_side <= train_of_test).all()  # what was chosen on is learned from


def test_what_is_chosen_on_dev_never_reads_test(tmp_path: Path) -> None:
    write_products(tmp_path)
    found = {}
    for part in PARTS:
        source = JudgedProducts.read(tmp_path, part)
        gold = open_gold(source)
        slates = source.rank_slates(gold)[0]["judged"]
        queries = gold.pairs.queries
        found[part] = set(queries[gold.pairs.is_counted].tolist())
        if part == "dev":
            assert set(slates.pairs.queries.tolist()) == found["dev"]
        else:
            assert set(slates.pairs.queries[slates.chooses].tolist()) == found["dev"]
            assert set(slates.pairs.queries[~slates.chooses].tolist()) == found["test"]
    assert not found["dev"] & found["test"] and len(found["dev"] | found["test"]) == 20
