"""What counts as good and bad, and what a judged pair shares with training: nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from judged_pairs import RANKS, write_judgements, write_onet, write_products

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.errors import ConfigError, DataError
from serendip_bench.relevance_judges.gold import EXTRA, LEARNED_ONLY, Gold, GoldPairs
from serendip_bench.relevance_judges.onet import (
    LABELLED,
    NEAR_TIER,
    Onet,
    onet_lists,
    onet_pairs,
    read_onet,
)
from serendip_bench.relevance_judges.products import FOLDS, read_judged_products
from serendip_bench.relevance_judges.run import gold_set


@pytest.fixture(scope="module")
def onet(tmp_path_factory: pytest.TempPathFactory) -> Onet:
    folder = tmp_path_factory.mktemp("onet")
    write_onet(folder)
    return read_onet(folder)


@pytest.fixture(scope="module")
def all_pairs(onet: Onet) -> GoldPairs:
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    return onet_pairs(onet, *onet.texts.encoded(encoder.encode))


@pytest.fixture(scope="module")
def pairs(all_pairs: GoldPairs) -> GoldPairs:
    return all_pairs.where(all_pairs.fold != EXTRA)


def test_more_bad_pairs_are_learned_from_than_the_gold_has(
    onet: Onet, all_pairs: GoldPairs, pairs: GoldPairs
) -> None:
    extra = all_pairs.where(all_pairs.fold == EXTRA)
    assert extra.is_bad.all()
    known = set(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    further = list(zip(extra.queries.tolist(), extra.items.tolist(), strict=True))
    assert len(set(further)) == len(further)
    assert not known & set(further)
    learned = pairs.where(pairs.fold == LEARNED_ONLY)
    assert set(extra.queries.tolist()) <= set(learned.queries.tolist())
    judged = pairs.where(pairs.judged)
    assert not set(extra.items.tolist()) & set(judged.items.tolist())
    assert len(learned.is_bad) // 2 < len(extra) <= 2 * learned.is_bad.sum()
    family = len(RANKS)
    for title, item in further:
        assert item // family not in {job // family for job in onet.own[title]}


def test_good_are_the_own_occupation_and_its_nearest_relatives(
    onet: Onet, pairs: GoldPairs
) -> None:
    for title in np.unique(pairs.queries).tolist():
        good = set(pairs.items[(pairs.queries == title) & ~pairs.is_bad].tolist())
        own = onet.own[title]
        allowed = own | {one for job in own for one in onet.relatives[NEAR_TIER][job]}
        assert own <= good <= allowed


def test_bad_are_unrelated_in_both_directions_and_as_many(onet: Onet, pairs: GoldPairs) -> None:
    family = len(RANKS)
    for title in np.unique(pairs.queries).tolist():
        own = pairs.queries == title
        bad = pairs.items[own & pairs.is_bad]
        assert len(bad) == (own & ~pairs.is_bad).sum()
        assert len(np.unique(bad)) == len(bad)
        assert not set(bad // family) & {job // family for job in onet.own[title]}


@pytest.mark.parametrize("kind", ["served", "unseen"])
def test_lists_hold_occupations_for_judged_titles(
    onet: Onet, all_pairs: GoldPairs, pairs: GoldPairs, kind: str
) -> None:
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    gold = Gold.of(onet.texts, *onet.texts.encoded(encoder.encode), all_pairs)
    listed = onet_lists(onet, gold).kinds[kind]
    lists, judged = listed.pairs, pairs.where(pairs.judged)
    assert set(np.unique(lists.queries)) == set(np.unique(judged.queries))
    assert set(np.unique(judged.items)) <= set(np.unique(lists.items))
    has_learned = bool(set(lists.items.tolist()) & set(pairs.items[~pairs.judged].tolist()))
    assert has_learned == (kind == "served")
    family = len(RANKS)
    for title in np.unique(lists.queries).tolist():
        own = lists.queries == title
        assert len(np.unique(lists.items[own])) == own.sum()
        related = np.isin(lists.items[own] // family, [job // family for job in onet.own[title]])
        assert np.array_equal(lists.is_bad[own], ~related)
        assert listed.likeness[own][related].mean() > listed.likeness[own][~related].mean()


def test_filters_learn_from_lists_of_which_nothing_is_judged(
    onet: Onet, all_pairs: GoldPairs, pairs: GoldPairs
) -> None:
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    gold = Gold.of(onet.texts, *onet.texts.encoded(encoder.encode), all_pairs)
    lessons = onet_lists(onet, gold).lessons
    assert lessons is not None and (lessons.fold == LEARNED_ONLY).all()
    judged, learned = pairs.where(pairs.judged), pairs.where(~pairs.judged)
    assert not set(lessons.queries.tolist()) & set(judged.queries.tolist())
    assert not set(lessons.items.tolist()) & set(judged.items.tolist())
    assert set(lessons.queries.tolist()) == set(learned.queries.tolist())
    of_each = np.unique(lessons.queries, return_counts=True)[1]
    assert of_each.tolist() == [min(LABELLED, len(np.unique(learned.items)))] * len(of_each)
    family = len(RANKS)
    for title, item, bad in zip(lessons.queries, lessons.items, lessons.is_bad, strict=True):
        assert bad == (item // family not in {job // family for job in onet.own[title]})


def test_occupations_without_relatives_are_neither(onet: Onet, pairs: GoldPairs) -> None:
    without = onet.texts.titles.index("all other workers")
    assert without not in pairs.items


def test_both_ends_of_a_judged_pair_are_unseen(pairs: GoldPairs) -> None:
    learned, judged = pairs.where(pairs.fold == LEARNED_ONLY), pairs.where(pairs.fold == 0)
    assert len(learned) and len(judged)
    assert not set(learned.items.tolist()) & set(judged.items.tolist())
    assert not set(learned.queries.tolist()) & set(judged.queries.tolist())


def test_the_same_pairs_every_time(onet: Onet, all_pairs: GoldPairs) -> None:
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    again = onet_pairs(onet, *onet.texts.encoded(encoder.encode))
    assert np.array_equal(again.items, all_pairs.items)


def test_half_of_the_bad_ones_are_the_nearest(onet: Onet) -> None:
    encoder = open_encoder(TextEncoderConfig(name="hashing"))
    queries, items = onet.texts.encoded(encoder.encode)
    pairs = onet_pairs(onet, queries, items)
    title = int(pairs.queries[0])
    own = pairs.where((pairs.queries == title) & pairs.is_bad)
    side = np.unique(pairs.items[pairs.fold == own.fold[0]])
    others = side[side // 8 != min(onet.own[title]) // 8]
    near = queries.vectors[title] @ items.views[1][others].T
    nearest = others[np.argsort(-near, kind="stable")[: (len(own) + 1) // 2]]
    assert set(nearest.tolist()) <= set(own.items.tolist())


def test_products_are_judged_by_folds_of_whole_queries(tmp_path: Path) -> None:
    write_products(tmp_path)
    texts, pairs = read_judged_products(tmp_path, None)
    assert (len(texts.queries), len(texts.titles), len(pairs)) == (20, 60, 400)
    assert pairs.is_bad.mean() == 0.8
    assert set(pairs.fold.tolist()) == set(range(FOLDS))
    folds_of = {query: set(pairs.fold[pairs.queries == query].tolist()) for query in range(20)}
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert texts.bodies[0] == "made for rooms 0. a lamp for the house"
    assert texts.passages[1] == ["home, chair", "brand 1"]


def test_a_second_file_is_only_ever_judged(tmp_path: Path) -> None:
    write_products(tmp_path)
    test = tmp_path / "more.csv"
    write_judgements(test, [("blue lamp", "p0", "E"), ("blue lamp", "p1", "I")])
    texts, pairs = read_judged_products(tmp_path, test)
    judged = pairs.where(pairs.judged)
    assert [texts.queries[query] for query in judged.queries] == ["blue lamp", "blue lamp"]
    assert judged.is_bad.tolist() == [False, True]
    assert len(pairs) == 402


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("lamp 0", "p0", "E"), "asks 'lamp 0'"),
        (("new lamp", "p0", "X"), "label 'X'"),
        (("new lamp", "nowhere", "E"), "judges no product"),
    ],
)
def test_wrong_judgements_are_refused(
    tmp_path: Path, row: tuple[str, str, str], complaint: str
) -> None:
    write_products(tmp_path)
    write_judgements(tmp_path / "more.csv", [row])
    with pytest.raises(DataError, match=complaint):
        read_judged_products(tmp_path, tmp_path / "more.csv")


def test_folders_are_told_by_their_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no judged pairs"):
        gold_set(tmp_path, None)
    write_onet(tmp_path / "onet")
    assert len(gold_set(tmp_path / "onet", None).files) == 4
    with pytest.raises(ConfigError, match="beside O"):
        gold_set(tmp_path / "onet", tmp_path / "more.csv")
    (tmp_path / "onet" / "tasks.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        gold_set(tmp_path / "onet", None)


def test_broken_files_of_onet_are_told_by_name_and_line(tmp_path: Path) -> None:
    write_onet(tmp_path)
    whole = (tmp_path / "tasks.csv.gz").read_bytes()
    (tmp_path / "tasks.csv.gz").write_bytes(whole[:40] + b"\xff" * 20 + whole[60:])
    with pytest.raises(DataError, match=r"tasks\.csv\.gz cannot be read"):
        read_onet(tmp_path)
    for text, complaint in (
        ("onet_soc_code,work\n00,x\n", "no column 'task'"),
        ("onet_soc_code,task\n00,x\n01\n", r"tasks\.csv\.gz:3 has too few cells"),
    ):
        with gzip.open(tmp_path / "tasks.csv.gz", "wt") as file:
            file.write(text)
        with pytest.raises(DataError, match=complaint):
            read_onet(tmp_path)


def test_onet_without_relatives_has_no_pairs(tmp_path: Path) -> None:
    write_onet(tmp_path)
    with gzip.open(tmp_path / "related_occupations.csv.gz", "wt") as file:
        file.write("onet_soc_code,related_onet_soc_code,relatedness_tier\n")
    onet, encoder = read_onet(tmp_path), open_encoder(TextEncoderConfig(name="hashing"))
    with pytest.raises(DataError, match="none of 64 titles"):
        onet_pairs(onet, *onet.texts.encoded(encoder.encode))
