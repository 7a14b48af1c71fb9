import io
import shutil
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import on_both_databases
from small_shop import WITHOUT_SEARCHES, add_settings

from serendip.data import Event, Item
from serendip.data.store.tables.erasures import DataCopy
from serendip.data.store.tables.generated import Generated
from serendip.data.users.user import User
from serendip.engine.artefacts.erasure import PAUSE_S, REST, Eraser, remove_remains
from serendip.engine.artefacts.generations import current_name, rollback
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, NotTrainedError
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.train.train import train_workspace
from serendip.runtime.atomic_files import scratch_folder
from serendip.runtime.background import RecurringWork

PERSON, TEXT, COUNTRY = "canary-7f3d@example.com", "comedy tale canaryquery", "Canaryland"


def contents(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        return raw + repr(pq.read_table(path).to_pydict()).encode()
    if path.suffix == ".npz":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return raw + b"".join(archive.read(name) for name in archive.namelist())
    return raw


def find(folder: Path, *texts: str) -> set[str]:
    wanted = [text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-32-le")]
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(text in contents(path) for text in wanted)
    }


def settle() -> None:
    for thread in threading.enumerate():
        if thread.name == "beside":
            thread.join(300)


def remover_of(folder: Path) -> RecurringWork:
    return RecurringWork(remove_remains, str(folder), PAUSE_S, REST)


def searched(engine: Engine) -> tuple[str, ...]:
    return tuple(engine._suggestion_user(engine.state, PERSON).searched.values())


def states(receipt: Any) -> dict[str, str]:
    return {place.place: place.state for place in receipt.places}


def learn_from_no_searches(shop: Path) -> None:
    """Let the next training be a short one; what is stored has its places in it all the same."""
    add_settings(shop, WITHOUT_SEARCHES)


@pytest.fixture(scope="module")
def haunted_once(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained shop in whose tail, packs, attributes and suggestions a person is."""
    shop = Path(shutil.copytree(trained_folder, tmp_path_factory.mktemp("haunted") / "shop"))
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_events(
            [
                Event(PERSON, f"i{number}", 1.6e9 + number, "click", country=COUNTRY)
                for number in range(8)
            ]
        )
        store.put_events(
            [Event(PERSON, "i1", 1.6e9 + 50, "click", query=TEXT, request_id="canary-request")]
        )
        store.pack()
        store.put_events([Event(PERSON, f"i{number}", 1.7e9) for number in range(3)])
        store.put_events([Event(PERSON, "i9", 1.7e9, "hide", session_id="canary-session")])
        store.users.put(User(PERSON, {"plan": "canaryplan", "country": COUNTRY}))
    learn_from_no_searches(shop)
    train_workspace(JobContext.open(shop))
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_events([Event(PERSON, "i5", 1.7e9 + 9, "click", query=TEXT)])
        store.exports.begin(DataCopy("embeddings/users.parquet", 0, 0))
    (shop / "embeddings").mkdir()
    vectors = pa.table({"user_id": [PERSON], "vector": [[1.0]]})
    pq.write_table(vectors, shop / "embeddings" / "users.parquet")
    return shop


@pytest.fixture
def haunted(haunted_once: Path, tmp_path: Path, move_database: Callable[[Path], Path]) -> Path:
    return move_database(Path(shutil.copytree(haunted_once, tmp_path / "haunted")))


@on_both_databases
def test_every_worker_obeys_at_once_and_the_receipt_names_what_is_left(haunted: Path) -> None:
    with closing(Engine.open(haunted)) as one, closing(Engine.open(haunted)) as other:
        for engine in (one, other):  # both have everything in their caches
            assert engine.chosen(PERSON)
            assert TEXT in searched(engine)
            assert PERSON in dict(engine.users(99))
        receipt = one.erase_user(PERSON)
        assert receipt.events == 14
        for engine in (one, other):
            assert engine.chosen(PERSON) == engine.history(PERSON) == []
            assert engine.user(PERSON) == User(PERSON)
            assert PERSON not in dict(engine.users(999))
            assert searched(engine) == ()
            stranger = engine.recommend(Request("home", user_id="nobody at all"))
            erased = engine.recommend(Request("home", user_id=PERSON))
            assert [item.item_id for item in erased.items] == [
                item.item_id for item in stranger.items
            ]
        assert states(receipt)["generations"] == "pending"
        assert PERSON not in repr(receipt)
        settle()
        again = one._eraser.find_receipt(PERSON)
        assert (again.digest, again.erased_at) == (receipt.digest, receipt.erased_at)
        pending = {place for place, state in states(again).items() if state == "pending"}
        assert pending == {"generations"}


def test_no_byte_is_left_after_the_erasure_and_the_next_training(haunted: Path) -> None:
    clues = (PERSON, TEXT, "canaryplan", "canary-request", "canary-session", COUNTRY)
    assert {path.partition("/")[0] for path in find(haunted, *clues)} >= {
        "serendip.db",
        "embeddings",
    }
    workspace = Workspace.open(haunted)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        eraser.erase_user(PERSON)
        eraser.remove_remains()
        left = find(haunted, *clues)
        assert {path for path in left if not path.startswith("generations/")} == set()
        before = current_name(workspace.generations)
        train_workspace(JobContext.open(haunted))
        assert find(haunted, *clues) == set()
        receipt = eraser.find_receipt(PERSON)
        assert receipt.is_complete
        assert current_name(workspace.generations) > before
        with pytest.raises(NotTrainedError):
            rollback(workspace.generations)


def test_a_killed_removal_and_a_killed_training_are_cleaned_up(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    with scratch_folder(workspace.training) as running:
        (running / "users.text.npy").write_bytes(b"u1")
        scratch = running.with_name(f"{running.name}-killed")
        shutil.copytree(running, scratch)
    with closing(workspace.open_store()) as store:
        receipt = Eraser(workspace, store).erase_user("u1")
        assert states(receipt)["scratch"] == states(receipt)["database"] == "pending"
        remove_remains(str(fresh))
        receipt = Eraser(workspace, store).renew(receipt)
    assert receipt.is_complete
    assert not scratch.exists()


@on_both_databases
def test_a_wrong_id_is_refused_and_an_unknown_user_gets_a_receipt(engine: Engine) -> None:
    with pytest.raises(DataError, match="cannot be erased"):
        engine.erase_user("")
    receipt = engine.erase_user("never seen")
    assert receipt.events == 0
    assert {place for place, state in states(receipt).items() if state == "pending"} == {"database"}
    settle()
    again = engine._eraser.find_receipt("never seen")
    assert again.is_complete


def test_of_an_erased_item_only_the_id_is_left(shop: Path) -> None:
    learn_from_no_searches(shop)
    workspace = Workspace.open(shop)
    clues = ("canarytitle", "canarytext", "canarybrand", "canarywords")
    with closing(Engine.open(shop)) as engine:
        engine.add_items([Item("odd", "canarytitle", "canarytext", {"brand": "canarybrand"})])
    with closing(workspace.open_store()) as store:
        text = Generated("text", "odd", "keywords", "rules", "canarywords", "m", "p", "d")
        store.generated.put([text])
        train_workspace(JobContext.open(shop))
        assert find(shop, *clues)
        with closing(Engine.open(shop)) as engine:
            assert engine.item("odd") is not None
            eraser = Eraser(workspace, store)
            receipt = eraser.erase_item("odd")
            engine.catch_up()
            assert engine.item("odd") is None
            found = engine.search("canarytitle", k=99).items
            assert "odd" not in {item.item_id for item in found}
        assert states(receipt)["generations"] == "pending"
        eraser.remove_remains()
        assert {path.partition("/")[0] for path in find(shop, *clues)} == {"generations"}
        train_workspace(JobContext.open(shop))
        assert find(shop, *clues) == set()
        assert eraser.renew(receipt).is_complete
        import_files(workspace)
        assert store.item("odd") is None
        assert states(eraser.erase_item("never seen"))["id of the item"] == "kept"
        with pytest.raises(DataError, match="cannot be erased"):
            eraser.erase_item("")


def test_a_removal_that_met_a_lock_is_gone_on_with_by_a_service_and_an_import(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        eraser = Eraser(workspace, store)
        for name in ("erasure", "packs"):  # another service's process, a training
            with store.database.exclusive(name):
                eraser.erase_user("u1")
                remover = remover_of(fresh)
                remover.begin()
                settle()
            assert eraser.has_remains()
        remover_of(fresh).begin_if_due(eraser.has_remains)
        settle()
        assert not eraser.has_remains()
        eraser.erase_user("u2")
        import_files(workspace)
        assert not eraser.has_remains()
