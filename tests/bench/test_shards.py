"""A service whose index is searched by shards answers as one that searches it alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from serendip.engine.artefacts.generations import publish, rollback
from serendip.engine.artefacts.shards import find_indexes
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.models.index.ann_index import SearchPlan
from serendip.models.index.remote_shard import TOKEN_VARIABLE, RemoteShard, ShardConnection
from serendip.models.index.sharded_index import ShardedIndex
from serendip.models.retriever.model import Retriever
from serendip.serve.workers.shard_server import ShardServer
from serendip_bench.large_state import write_workspace

REQUESTS = [
    Request("home", k=20),
    Request("similar", item_ids=("sku-00000007",), k=20),
    Request("home", user_id="u", k=20),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_workspace(folder, 4_100)  # more than are all compared
    return folder


@pytest.fixture
def shards(shop: Path) -> Iterator[list[ShardServer]]:
    servers = [ShardServer(Workspace.open(shop), part, 2, "127.0.0.1", 0, "") for part in (0, 1)]
    for server in servers:
        server.load()
    yield servers
    for server in servers:
        server.close()


def open_engine(shop: Path, addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    listed = ",".join(f'"{address}"' for address in addresses)
    monkeypatch.setenv("SERENDIP_SERVE__SHARDS", f"[{listed}]")
    monkeypatch.setenv("SERENDIP_SERVE__SHARD_DEADLINE", "20s")
    return Engine.open(shop)


def addresses(servers: list[ShardServer]) -> list[str]:
    return [f"127.0.0.1:{server.port}" for server in servers]


def answers(engine: Engine) -> list[tuple[str, float]]:
    found = [item for request in REQUESTS for item in engine.recommend(request).items]
    return [(item.item_id, item.score) for item in found]


def test_shards_answer_as_one_index_does(
    shop: Path, shards: list[ShardServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_engine(shop, [], monkeypatch)) as engine:
        expected = answers(engine)
    with closing(open_engine(shop, addresses(shards), monkeypatch)) as engine:
        retriever = engine.state.models["retriever"]
        assert isinstance(retriever, Retriever)
        assert isinstance(retriever._index.of(retriever).base, ShardedIndex)
        assert answers(engine) == expected
        engine.delete_item("sku-00000011")  # another set of items, which the shards do not know
        assert engine.recommend(REQUESTS[1]).degraded == ()
        shards[1].close()
        degraded = engine.recommend(REQUESTS[1])
        assert "retriever" in degraded.degraded and degraded.items
        shards[0].close()
        with pytest.raises(StorageError, match="none of 2 shards"):
            engine.recommend(REQUESTS[1])
        assert engine.fall_back(REQUESTS[1]).items  # what the service answers then


def test_shards_that_do_not_fit_are_refused(
    shop: Path, shards: list[ShardServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="has part 2 of 2, and is number 1 of 2"):
        open_engine(shop, addresses(shards)[::-1], monkeypatch)
    empty = ShardServer(Workspace.open(shop), 0, 1, "127.0.0.1", 0, "")
    with pytest.raises(StorageError, match="does not have gen-1 yet"):
        open_engine(shop, addresses([empty]), monkeypatch)
    empty.close()
    secret = ShardServer(Workspace.open(shop), 0, 1, "127.0.0.1", 0, "sécret")
    with pytest.raises(StorageError, match="the token is another one"):
        open_engine(shop, addresses([secret]), monkeypatch)
    monkeypatch.setenv(TOKEN_VARIABLE, "sécret")
    assert ShardConnection(addresses([secret])[0]).state(20.0).parts == 1
    secret.close()
    with pytest.raises(StorageError, match="does not answer"):
        open_engine(shop, addresses([secret]), monkeypatch)


def test_a_wrong_question_is_refused_and_the_next_one_answered(
    shop: Path, shards: list[ShardServer]
) -> None:
    index = find_indexes(Workspace.open(shop).generation_folder / "gen-1")[0]
    shard = RemoteShard(ShardConnection(addresses(shards)[0]), "gen-1", index, 0, 2_050)
    size = shards[0]._generations["gen-1"][index]._index.vectors.shape[1]
    query, plan, end = np.ones(size, np.float32), SearchPlan(3, 500), time.monotonic() + 20.0
    items = shard.start(query, plan, None, end)().items
    with pytest.raises(StorageError, match=f"not a question: .* for vectors of size {size}"):
        shard.start(query[1:], plan, None, end)()
    with pytest.raises(StorageError, match="not a question: an item is not among"):
        shard.start_scores(query, items + 3_000, end)()
    with pytest.raises(StorageError, match="not a question"):
        shard._connection.ask("dance", b"{}\n", end, bytes)
    shards[0]._generations["gen-1"][index] = None  # type: ignore[assignment]  # any other error
    with pytest.raises(StorageError, match="it fails, see its log"):
        shard.start(query, plan, None, end)()
    assert shard._connection.state(20.0).generations == ("gen-1",)


def test_the_generation_in_force_is_kept_longest(shop: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shop, tmp_path / "shop"))
    workspace = Workspace.open(folder)
    server = ShardServer(workspace, 0, 1, "127.0.0.1", 0, "")
    source = workspace.generation_folder / server.load()

    def write(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)
        (target / "manifest.json").unlink()

    for _ in range(2):  # a publication, and back; each time a rollback keeps the first in force
        publish(workspace.generations, write, {})
        server.load()
        rollback(workspace.generations)
        assert server.load() == "gen-1"
    publish(workspace.generations, write, {})
    server.load()
    assert "gen-1" in server._generations
    server.close()
