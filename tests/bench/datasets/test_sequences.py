from pathlib import Path

import numpy as np
import pytest
from bench_world import NUM_ITEMS, sequences, write_world

from serendip.errors import DataError
from serendip_bench.datasets.sequences import TEXT_FIELDS, read_sequences


def test_every_user_keeps_the_order_of_the_line(tmp_path: Path) -> None:
    dataset = read_sequences(write_world(tmp_path))
    assert dataset.num_items == NUM_ITEMS
    assert (np.diff(dataset.events.timestamps) >= 0).all()
    for user, items in sequences().items():
        history = dataset.history(dataset.users.number(user))
        assert dataset.catalogue.vocabulary.ids_of(history.item_nums) == items
        assert history.timestamps.tolist() == list(range(len(items)))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            '{"item_id": 7, "title": "A train", "categories": [["Toys", "Rail"], ["X"]]}',
            "A train. Toys Rail",
        ),
        ('{"item_id": 7, "title": "", "textual_id": "train a", "categories": []}', "train a"),
        ('{"item_id": 7, "title": null, "textual_id": "train a"}', "train a"),
        ('{"item_id": 7, "categories": [["Toys"]]}', "Toys"),
        ('{"item_id": 7}', ""),
    ],
)
def test_what_is_encoded(tmp_path: Path, row: str, text: str) -> None:
    (tmp_path / "items.jsonl").write_text(row + "\n\n")
    (tmp_path / "sequences.txt").write_text("u 7 7 7\n")
    dataset = read_sequences(tmp_path)
    assert dataset.catalogue.vocabulary.ids == ("7",)
    assert dataset.catalogue.texts(TEXT_FIELDS) == [text]


ITEMS = '{"item_id": "a"}\n{"item_id": "b"}\n{"item_id": "c"}\n'


@pytest.mark.parametrize(
    ("lines", "items", "message"),
    [
        ("u a b c\nv a zzz b\n", ITEMS, "1 items are not in items.jsonl.*'zzz' of user 'v'"),
        ("u a b c\nu a\n", ITEMS, "1 users have more than one line.*'u'"),
        ("u a b c\nv\n", ITEMS, "sequences.txt:2: user 'v' has no items"),
        ("u a b\n", ITEMS, "none of 1 users has 3 items"),
        ("", ITEMS, "none of 0 users"),
        ("u a b c\n", ITEMS + '{"item_id": "a"}\n', "1 items have more than one line.*'a'"),
        ("u a b c\n", ITEMS + "{oops\n", "items.jsonl:4 is not JSON"),
        ("u a b c\n", ITEMS + '{"title": "x"}\n', "items.jsonl:4 has no item_id"),
        ("u a b c\n", ITEMS + "[1]\n", "items.jsonl:4 has no item_id"),
        (None, ITEMS, "sequences.txt does not exist"),
        ("u a b c\n", None, "items.jsonl does not exist"),
    ],
)
def test_wrong_data_is_named(
    tmp_path: Path, lines: str | None, items: str | None, message: str
) -> None:
    if lines is not None:
        (tmp_path / "sequences.txt").write_text(lines)
    if items is not None:
        (tmp_path / "items.jsonl").write_text(items)
    with pytest.raises(DataError, match=message):
        read_sequences(tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    write_world(tmp_path)
    (tmp_path / "sequences.txt").write_bytes(b"u \xff\xfe i1 i2")
    with pytest.raises(DataError, match="cannot be read"):
        read_sequences(tmp_path)
