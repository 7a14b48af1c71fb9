import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_shop import TASTES

from serendip.data import AllowedItems, Event, Item
from serendip.data.users.profile import ACTIVITY, PARTS
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import Batch
from serendip.errors import DataError
from serendip.jobs.exports import embeddings
from serendip.jobs.exports.embeddings import Kind, embed
from serendip.jobs.train.space import SPACE_FOLDER
from serendip.models.embedding_space import VectorSpace
from serendip.runtime.progress import SilentProgress, TrainOptions
from serendip.runtime.versions import compute_checksums, seal

NETWORK = 24


def written(shop: Path, kind: Kind, file: Path | None = None) -> tuple[list[str], np.ndarray]:
    summary = embed(shop, kind, shop / f"{kind}.pq", TrainOptions(), file)
    table = pq.read_table(shop / f"{kind}.pq")
    ids, vectors, *_ = table.columns
    assert summary["rows"] == table.num_rows
    rows = np.array(vectors.to_pylist(), np.float32).reshape(table.num_rows, -1)
    return ids.to_pylist(), rows


def turn_space(shop: Path) -> None:
    """Give the published generation the space of a training with other axes."""
    folder = shop / "generations" / "gen-1"
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(NETWORK, NETWORK)))[0]
    space = VectorSpace.open(folder / SPACE_FOLDER)
    shutil.rmtree(folder / SPACE_FOLDER)
    replace(space, rotation=turned.astype(np.float32)).save(folder / SPACE_FOLDER)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = compute_checksums(folder)
    (folder / "manifest.json").write_text(seal(manifest))


@pytest.mark.parametrize("turned", [False, True])
def test_dot_products_are_the_scores_of_the_retriever_on_any_axes(shop: Path, turned: bool) -> None:
    if turned:
        turn_space(shop)
    lines = shop / "asked.txt"
    lines.write_text("horror tale\nnumber 7\n")
    items, of_items = written(shop, "items")
    users, of_users = written(shop, "users")
    texts, of_texts = written(shop, "queries", lines)
    engine = Engine.open(shop)
    home, search = engine.settings.all_surfaces()["home"], engine.settings.all_surfaces()["search"]
    everything = AllowedItems.all(engine.state.num_items)
    asked = ((of_users, engine.queries(Request("home", user) for user in users), home),)
    asked += ((of_texts, engine.queries(Request("search", text=text) for text in texts), search),)
    for vectors, queries, surface in asked:
        batch = Batch.of(queries, surface, engine.state, [everything] * len(queries))
        scores = engine.state.models["retriever"].score_all(batch.queries)
        np.testing.assert_allclose(vectors @ of_items.T, scores, atol=1e-4)
    own = engine.state.models["retriever"].item_vectors
    assert np.allclose(of_items[:, :NETWORK], own[:, :NETWORK]) is not turned
    assert items == [f"i{number}" for number in range(60)]
    assert (len(users), texts) == (45, ["horror tale", "number 7"])
    engine.close()


def test_the_file_says_what_its_vectors_are(shop: Path) -> None:
    summary = embed(shop, "items", None, TrainOptions())
    out = shop / "embeddings" / "items.parquet"
    assert summary["out"] == str(out)
    schema = pq.read_schema(out)
    size = summary["dimensions"]
    assert schema.names == ["item_id", "vector"]
    assert schema.field("vector").type == pa.list_(pa.float32(), size)
    told = {name.decode(): value.decode() for name, value in schema.metadata.items()}
    manifest = json.loads((shop / "generations" / "gen-1" / "manifest.json").read_text())
    assert told["space"] == summary["space"] == manifest["space"]["name"]
    assert (told["generation"], told["model"]) == ("gen-1", "retriever")
    assert (told["space_version"], told["dimensions"]) == ("1", str(size))
    assert json.loads(told["parts"]) == summary["parts"]
    assert list(summary["parts"].items())[::2] == [("network", NETWORK), ("bonus", 1)]
    assert sum(summary["parts"].values()) == size
    assert "the retriever's score" in told["dot_product"]
    assert not list(out.parent.glob("*.part"))


def test_items_posted_since_are_there_and_deleted_ones_are_not(shop: Path) -> None:
    engine = Engine.open(shop)
    engine.add_items([Item("new", "The horror tale number 3", "", {"genre": "horror"})])
    engine.delete_item("i3")
    engine.close()
    ids, vectors = written(shop, "items")
    assert ids == [*(f"i{number}" for number in range(60) if number != 3), "new"]
    assert np.isfinite(vectors).all()


def test_users_have_a_profile_whose_numbers_are_named(shop: Path) -> None:
    written(shop, "users")
    table = pq.read_table(shop / "users.pq")
    assert table.column_names == ["user_id", "vector", "activity", "preferences"]
    told = table.schema.metadata
    assert json.loads(told[b"activity"]) == list(ACTIVITY)
    names = [f"{part}: genre={taste}" for part in PARTS for taste in sorted(TASTES)]
    assert json.loads(told[b"preferences"]) == names
    first = table.slice(table["user_id"].to_pylist().index("u0"), 1).to_pylist()[0]
    assert first["preferences"][:3] == [0, 1, 0]  # u0 reads horror alone
    with Engine.open(shop) as engine:
        events = engine.history("u0")
    activity = dict(zip(ACTIVITY, first["activity"], strict=True))
    assert activity["events"] == activity["visits"] == len(events)  # an hour apart


def test_queries_are_those_of_the_file_or_the_most_frequent_of_the_log(
    shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"event log has no queries.*--file"):
        embed(shop, "queries", None, TrainOptions())
    engine = Engine.open(shop)
    asked = ("tale 9", "horror", "tale 9", "")
    engine.add_events([Event("u", "i9", time.time(), query=text) for text in asked])
    engine.close()
    assert written(shop, "queries")[0] == ["tale 9", "horror"]

    (tmp_path / "q.txt").write_text("\ufeffred shoes\n\n  blue, hat  \nred shoes\n")
    assert written(shop, "queries", tmp_path / "q.txt")[0] == ["red shoes", "blue, hat"]
    (tmp_path / "q.txt").write_bytes(b"\xff\xfe\xfa")
    for name in ("none.txt", "q.txt"):
        with pytest.raises(DataError, match=f"{name} cannot be read.*one query per line"):
            embed(shop, "queries", None, TrainOptions(), tmp_path / name)


def test_a_failure_half_way_leaves_the_file_that_was_there(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shop / "items.parquet"
    out.write_text("earlier")
    monkeypatch.setattr(embeddings, "BATCH", 10)

    class Stops(SilentProgress):
        def track(self, items, description, total):
            yield from list(items)[:2]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(shop, "items", out, TrainOptions(progress=Stops()))
    assert out.read_text() == "earlier"
    assert not list(shop.glob("*.part"))


@pytest.mark.parametrize("kind", ["items", "users", "queries"])
def test_rows_of_many_tasks_are_those_of_one(
    shop: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = shop / "out.parquet", None
    if kind == "queries":
        file = shop / "queries.txt"
        file.write_text("\n".join(f"tale {number}" for number in range(40)))
    monkeypatch.setattr(embeddings, "BATCH", 7)
    expected = embed(shop, kind, out, TrainOptions(), file, 1.7e9)
    vectors = pq.read_table(out)
    monkeypatch.setattr(embeddings, "ROWS_PER_TASK", 14)
    assert embed(shop, kind, out, TrainOptions(), file, 1.7e9) == expected
    assert pq.read_table(out).equals(vectors)
