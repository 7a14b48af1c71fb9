"""A service whose index is searched by shards answers as one that searches it alone."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from serendip.data.checks import CheckResult
from serendip.engine.answer import Answer
from serendip.engine.artefacts.generations import ITEM_VERSION, open_current, publish, rollback
from serendip.engine.artefacts.shards import find_indexes
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.jobs.doctor import check_shards
from serendip.models.index import sharded_index
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
    return Engine.open(shop, with_shards=True)


@contextmanager
def serving(folder: Path, part: int, parts: int, port: int = 0) -> Iterator[ShardServer]:
    """A shard in a block."""
    server = ShardServer(Workspace.open(folder), part, parts, "127.0.0.1", port, "")
    server.load()
    try:
        yield server
    finally:
        server.close()


def publish_again(workspace: Workspace) -> None:
    """Publish what is published once more, under the next name."""
    source = open_current(workspace.generations)

    def write(target: Path) -> None:
        shutil.copytree(source.folder, target, dirs_exist_ok=True)
        (target / "manifest.json").unlink()

    facts = {name: source.manifest[name] for name in (ITEM_VERSION, "event_seq")}
    publish(workspace.generations, write, facts)


def answer_in_time(engine: Engine, request: Request) -> Answer:
    """The first answer that lacks nothing: a connection that was lost is made anew in seconds."""
    end = time.monotonic() + 60.0
    while (answer := engine.recommend(request)).degraded:
        assert time.monotonic() < end, answer.degraded
        threading.Event().wait(0.05)
    return answer


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
    shards[0].close()
    with pytest.raises(ConfigError, match="has part 2 of 2, and is number 1 of 2"):
        open_engine(shop, addresses(shards)[::-1], monkeypatch)
    empty = ShardServer(Workspace.open(shop), 0, 1, "127.0.0.1", 0, "")
    with pytest.raises(StorageError, match="does not have gen-1 yet"):
        open_engine(shop, addresses([empty]), monkeypatch)
    empty.close()


def test_where_no_shard_answers_the_start_ends_and_tells_why_of_each(
    shop: Path, shards: list[ShardServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = ShardServer(Workspace.open(shop), 0, 1, "127.0.0.1", 0, "sécret")
    with pytest.raises(StorageError, match=r"none of 1 shards .* the token is another one"):
        open_engine(shop, addresses([secret]), monkeypatch)
    monkeypatch.setenv(TOKEN_VARIABLE, "sécret")
    assert ShardConnection(addresses([secret])[0]).state(20.0).parts == 1
    secret.close()
    for server in shards:
        server.close()
    first, second = addresses(shards)
    told = f"none of 2 shards .*{first} does not answer.*{second} does not answer.*Start `serendip"
    with pytest.raises(StorageError, match=told):
        open_engine(shop, [first, second], monkeypatch)


def test_a_shard_that_is_gone_is_left_out_at_the_start_and_taken_in_when_it_comes_back(
    shop: Path,
    shards: list[ShardServer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(open_engine(shop, addresses(shards), monkeypatch)) as engine:
        expected = answers(engine)
        assert engine.missing_shards == ()
    shards[1].close()
    monkeypatch.setattr(sharded_index, "RETRY_S", 0.0)
    with closing(open_engine(shop, addresses(shards), monkeypatch)) as engine:
        gone = addresses(shards)[1]
        assert engine.missing_shards == (gone,)
        assert f"shard {gone} does not answer" in caplog.text and "It is left out" in caplog.text
        answer = engine.recommend(REQUESTS[1])
        assert "retriever" in answer.degraded and answer.items
        with serving(shop, 1, 2, shards[1].port):
            answer_in_time(engine, REQUESTS[1])
            assert engine.missing_shards == ()
            assert answers(engine) == expected


def test_a_service_swaps_and_a_shard_that_waits_for_it_keeps_what_it_is_asked_for(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(Path(shutil.copytree(shop, tmp_path / "shop")))
    with serving(workspace.folder, 0, 2) as well, serving(workspace.folder, 1, 2) as late:
        listed = addresses([well, late])
        with closing(open_engine(workspace.folder, listed, monkeypatch)) as engine:
            expected = answers(engine)
            for _ in range(2):  # the second shard follows the first of two publications only
                publish_again(workspace)
                well.load()
                assert answers(engine) == expected
                if late._generations.names == ("gen-1",):
                    late.load()
            with pytest.raises(StorageError, match="does not have gen-3 yet"):
                open_engine(workspace.folder, listed, monkeypatch)
            assert engine.recommend(REQUESTS[1]).degraded == ()
        late.close()
        with closing(open_engine(workspace.folder, listed, monkeypatch)) as engine:
            assert engine.generation == "gen-3"
            assert engine.missing_shards == (addresses([late])[0],)


def test_the_doctor_tells_of_each_shard(
    shop: Path, shards: list[ShardServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(listed: list[str]) -> CheckResult:
        monkeypatch.setenv("SERENDIP_SERVE__SHARDS", json.dumps(listed))
        (result,) = check_shards(Workspace.open(shop))
        return result

    assert check_shards(Workspace.open(shop)) == []
    listed = addresses(shards)
    assert (check(listed).status, check(listed).total) == ("PASS", 2)
    swapped = check(listed[::-1])
    assert (swapped.status, swapped.count) == ("FAIL", 2)
    assert "has part 2 of 2, and is number 1 of 2" in swapped.examples[0]
    shards[1].close()
    missing = check(listed)
    assert (missing.status, missing.count) == ("WARN", 1)
    assert f"shard {listed[1]} does not answer" in missing.examples[0]
    shards[0].close()
    assert (check(listed).status, check(listed).count) == ("FAIL", 2)


def test_a_wrong_question_is_refused_and_the_next_one_answered(
    shop: Path, shards: list[ShardServer]
) -> None:
    index = find_indexes(Workspace.open(shop).generation_folder / "gen-1")[0]
    local = shards[0]._generations.find("gen-1", index)
    assert local is not None
    shard = RemoteShard(ShardConnection(addresses(shards)[0]), "gen-1", index, 0, 2_050)
    size = local._index.vectors.shape[1]
    query, plan, end = np.ones(size, np.float32), SearchPlan(3, 500), time.monotonic() + 20.0
    items = shard.start(query, plan, None, end)().items
    with pytest.raises(StorageError, match=f"not a question: .* for vectors of size {size}"):
        shard.start(query[1:], plan, None, end)()
    with pytest.raises(StorageError, match="not a question: an item is not among"):
        shard.start_scores(query, items + 3_000, end)()
    other = RemoteShard(shard._connection, "gen-1", index, 0, 4_100)
    with pytest.raises(StorageError, match="it has part 1 of 2, which is items 0 to 2049, and is"):
        other.start(query, plan, None, end)()
    with pytest.raises(StorageError, match="not a question"):
        shard._connection.ask("dance", b"{}\n", end, bytes)
    shards[0]._generations.put("gen-1", {index: object()})  # type: ignore[dict-item]  # no shard
    with pytest.raises(StorageError, match="it fails, see its log"):
        shard.start(query, plan, None, end)()
    assert shard._connection.state(20.0).generations == ("gen-1",)


def test_the_generation_in_force_is_kept_longest(shop: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shop, tmp_path / "shop"))
    workspace = Workspace.open(folder)
    server = ShardServer(workspace, 0, 1, "127.0.0.1", 0, "")
    server.load()
    for _ in range(2):  # a publication, and back; each time a rollback keeps the first in force
        publish_again(workspace)
        server.load()
        rollback(workspace.generations)
        assert server.load() == "gen-1"
    publish_again(workspace)
    server.load()
    assert "gen-1" in server._generations.names
    server.close()
