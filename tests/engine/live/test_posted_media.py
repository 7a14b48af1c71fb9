import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serendip.data import Item, Query
from serendip.data.store.store import Store
from serendip.engine.engine import Engine
from serendip.engine.live.media_encoding import PostedMediaEncoder
from serendip.engine.request import ItemFile
from serendip.engine.workspace import Workspace

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")


@contextmanager
def encoder_of(folder: Path) -> Iterator[tuple[PostedMediaEncoder, Store]]:
    workspace = Workspace.open(folder)
    with closing(workspace.open_store()) as store:
        yield PostedMediaEncoder(workspace, store), store


def encode(folder: Path) -> int:
    with encoder_of(folder) as (encoder, _):
        return encoder.encode_posted()


def forget_vectors(folder: Path) -> None:
    for path in (folder / "cache").glob("*.sqlite"):
        path.unlink()


def like(engine: Engine, item_id: str, name: str) -> Item:
    item = engine.item(item_id)
    return replace(item, item_id=name)


def rows(engine: Engine, *names: str) -> tuple[np.ndarray, np.ndarray, list[list[bool]]]:
    state = engine.state
    numbers = state.catalogue.vocabulary.numbers(names)
    masks = state.features.present[numbers].tolist()
    return state.features.content[numbers], state.features.codes[numbers], masks


def test_a_posted_item_has_the_vectors_and_codes_that_training_would_have_given(
    gallery: Path,
) -> None:
    forget_vectors(gallery)
    with closing(Engine.open(gallery)) as engine:
        twin, mute = like(engine, "i0", "twin"), like(engine, "i3", "mute")
        engine.add_items([twin, mute])
        assert engine.search(twin.title).items[0].item_id in ("i0", "twin")
        assert rows(engine, "twin")[2] == [[True, False, False]]
        assert engine.files(twin) == dict.fromkeys(("image", "audio"), ItemFile("waiting"))
        assert encode(gallery) == 2
        engine.catch_up()
        content, codes, masks = rows(engine, "i0", "twin", "i3", "mute")
        assert masks == [[True, True, True]] * 2 + [[True, True, False]] * 2
        np.testing.assert_allclose(content[1], content[0], atol=1e-5)
        np.testing.assert_allclose(content[3], content[2], atol=1e-5)
        assert codes[1].tolist() == codes[0].tolist()
        assert codes[3].tolist() == codes[2].tolist()
        assert engine.semantic_id("twin") == engine.semantic_id("i0")
        model = engine.state.models["content"]
        numbers = engine.state.catalogue.vocabulary.numbers(["i0", "twin"])
        _, likeness = model.votes(Query(source_items=numbers[:1]), numbers)  # type: ignore[attr-defined]
        # Term weights of trained items are rounded to 11 binary digits.
        np.testing.assert_allclose(likeness[0, 1], likeness[0, 0], rtol=5e-4)
        assert engine.similar("twin", k=3).items[0].item_id == "i0"
        assert engine.files(twin) == dict.fromkeys(("image", "audio"), ItemFile("encoded"))
        assert engine.files(mute) == {"image": ItemFile("encoded")}
        assert engine.search(twin.title).items[0].item_id in ("i0", "twin")


def test_engines_agree_whenever_they_read_and_after_a_restart(gallery: Path) -> None:
    forget_vectors(gallery)
    with closing(Engine.open(gallery)) as one, closing(Engine.open(gallery)) as other:
        one.add_items([like(one, "i0", "twin")])
        other.catch_up()
        assert rows(other, "twin")[2] == [[True, False, False]]
        assert encode(gallery) == 1
        for engine in (one, other):
            engine.catch_up()
        with closing(Engine.open(gallery)) as opened:
            assert opened.item_version == one.item_version == other.item_version
            wanted = rows(opened, "twin")
            assert wanted[2] == [[True, True, True]]
            for engine in (one, other):
                assert np.array_equal(rows(engine, "twin")[0], wanted[0])
                number = engine.state.catalogue.vocabulary.number("twin")
                assert number == opened.state.catalogue.vocabulary.number("twin")


def test_what_was_posted_before_the_process_ended_is_encoded_by_the_next_one(gallery: Path) -> None:
    forget_vectors(gallery)
    with closing(Engine.open(gallery)) as engine:
        engine.add_items([like(engine, "i0", "twin")])
    with closing(Engine.open(gallery)) as engine:
        assert rows(engine, "twin")[2] == [[True, False, False]]
        with encoder_of(gallery) as (encoder, store):
            version = store.max_version()
            for name, source in encoder._media.items():  # and killed before engines were told
                encoder._encode_files([like(engine, "i0", "twin")], name, source)
            assert store.max_version() == version
        assert rows(engine, "twin")[2] == [[True, False, False]]
        assert engine.files(like(engine, "i0", "twin"))["image"] == ItemFile("waiting")
    with closing(Engine.open(gallery)) as engine:
        assert rows(engine, "twin")[2] == [[True, True, True]]
        assert encode(gallery) == 0
        assert engine.item_version == version


def test_files_that_cannot_be_used_are_named_and_the_words_stay(
    gallery: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (gallery / "media" / "broken.png").write_bytes((gallery / "media/0.png").read_bytes()[:90])
    files = {"far": "https://example.com/a.png", "gone": "media/gone.png"}
    paths = {**files, "broken": "media/broken.png", "out": "../../etc/passwd"}
    items = [
        Item(name, f"A zebra {name}", attributes={"cover": path, "sample": "media/0.wav"})
        for name, path in paths.items()
    ]
    forget_vectors(gallery)
    with closing(Engine.open(gallery)) as engine:
        engine.add_items(items)
        assert engine.files(items[2])["image"] == ItemFile("waiting")
        problems = {file.item_id: file.problem for file in engine.find_file_problems(items)}
        assert problems == {
            "far": "'https://example.com/a.png' is not a file in the workspace.",
            "gone": "'media/gone.png' is not a file in the workspace.",
            "out": "'../../etc/passwd' is outside the workspace.",
        }
        assert encode(gallery) == 4
        engine.catch_up()
        for item in items:
            picture = engine.files(item)["image"]
            assert picture.state == "left out"
            assert picture.problem == problems.get(item.item_id, picture.problem)
            assert engine.files(item)["audio"] == ItemFile("encoded")
            assert engine.search(item.title).items[0].item_id == item.item_id
            assert rows(engine, item.item_id)[2] == [[True, False, True]]
        assert "`serendip doctor` says why" in engine.files(items[2])["image"].problem
    logged = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in logged if "without image" in line]
    assert "of the 4 files that `cover` names" in line
    sent = [*problems.values(), "gone.png", "passwd", "example.com"]
    sent += [repr(item.item_id) for item in items]
    assert [words for words in sent if any(words in line for line in logged)] == []


def test_another_picture_under_the_same_name_counts_once_the_item_is_posted_again(
    gallery: Path,
) -> None:
    with closing(Engine.open(gallery)) as engine:
        item = engine.item("i4")
        before = rows(engine, "i4")[0]
        Image.new("RGB", (300, 300), (250, 240, 10)).save(gallery / "media/4.png")
        dearer = replace(item, attributes={**item.attributes, "price": 9.0, "sample": ""})
        engine.add_items([dearer])
        assert engine.files(dearer)["image"] == ItemFile("waiting")
        assert encode(gallery) == 1
        engine.catch_up()
        changed, _, masks = rows(engine, "i4")
        assert masks == [[True, True, False]]
        assert np.abs(changed - before).max() > 0.05
        engine.add_items([replace(dearer, attributes={**dearer.attributes, "price": 8.0})])
        np.testing.assert_allclose(rows(engine, "i4")[0], changed, atol=1e-5)


def test_a_new_price_costs_no_item_its_picture(gallery: Path) -> None:
    shutil.rmtree(gallery / "cache")
    with closing(Engine.open(gallery)) as engine:
        item = engine.item("i4")
        before = rows(engine, "i4")[0]
        dearer = replace(item, attributes={**item.attributes, "price": 9.0})
        engine.add_items([dearer])
        assert np.array_equal(rows(engine, "i4")[0], before)
        assert engine.files(dearer)["image"] == ItemFile("encoded")
