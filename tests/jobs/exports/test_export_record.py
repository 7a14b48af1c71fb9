from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from postgres_server import on_both_databases

from serendip.data.store.store import Store
from serendip.engine.artefacts.erasure import Eraser, ErasurePlace
from serendip.engine.workspace import Workspace
from serendip.jobs.exports.export import begin_export, export
from serendip.runtime.atomic_files import open_parquet
from serendip.runtime.progress import SilentProgress

SCHEMA = pa.schema([("user_id", "string")])


@pytest.fixture
def workspace(fresh: Path, move_database: Callable[[Path], Path]) -> Workspace:
    return Workspace.open(move_database(fresh))


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with workspace.open_store() as opened:
        yield opened


def write(workspace: Workspace, store: Store, out: Path, erased: str = "") -> None:
    """Write two users, one of whom may be erased before the last of them."""
    end = begin_export(workspace, store, out)
    out.parent.mkdir(exist_ok=True)
    with open_parquet(out, SCHEMA) as file:
        file.write_table(pa.table({"user_id": ["u1"]}, SCHEMA))
        if erased:
            Eraser(workspace, store).erase_user(erased)
        file.write_table(pa.table({"user_id": ["u2"]}, SCHEMA))
    end()


def place(workspace: Workspace, store: Store, name: str, user: str = "u1") -> ErasurePlace:
    receipt = Eraser(workspace, store).find_receipt(user)
    return next(one for one in receipt.places if one.place == name)


@on_both_databases
def test_a_file_that_was_begun_before_an_erasure_is_named_and_goes(
    workspace: Workspace, store: Store
) -> None:
    out, eraser = workspace.embeddings / "users.parquet", Eraser(workspace, store)
    write(workspace, store, out, "u1")
    assert place(workspace, store, "exports").state == "pending"
    eraser.remove_remains()
    assert not out.exists()
    assert place(workspace, store, "exports").state == "erased"
    write(workspace, store, out)
    assert place(workspace, store, "exports").state == "erased"


def test_what_is_being_written_is_pending_and_left_to_its_writer(
    workspace: Workspace, store: Store
) -> None:
    out = workspace.embeddings / "users.parquet"
    workspace.embeddings.mkdir()
    begin_export(workspace, store, out)
    with open_parquet(out, SCHEMA) as file:
        file.write_table(pa.table({"user_id": ["u1"]}, SCHEMA))
        eraser = Eraser(workspace, store)
        eraser.erase_user("u1")
        eraser.remove_remains()
        assert place(workspace, store, "exports").state == "pending"
        assert not eraser.has_remains()
    assert eraser.has_remains()


def test_a_receipt_names_what_was_written_before_wherever_it_is(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    inside, outside = workspace.folder / "out" / "digest.parquet", tmp_path / "x" / "digest.parquet"
    for out in (inside, outside):
        write(workspace, store, out)
    Eraser(workspace, store).erase_user("u1")
    found = place(workspace, store, "exports")
    assert found.state == "pending"
    assert "out/digest.parquet" in found.detail
    assert str(outside) in found.detail
    write(workspace, store, inside)  # again, after the erasure
    outside.unlink()
    found = place(workspace, store, "exports")
    assert (found.state, str(outside) in found.detail) == ("kept", True)
    write(workspace, store, outside)
    assert place(workspace, store, "exports").state == "erased"


@on_both_databases
def test_an_export_that_somebody_was_erased_beside_is_named(
    workspace: Workspace, store: Store
) -> None:
    class Erasing(SilentProgress):
        @contextmanager
        def step(self, *arguments: Any) -> Iterator[None]:
            yield
            Eraser(workspace, store).erase_user("u1")

    export(workspace, workspace.folder / "out", "jsonl", Erasing())
    assert place(workspace, store, "exports").state == "pending"
    item = Eraser(workspace, store).erase_item("i1")
    assert next(one for one in item.places if one.place == "exports").state == "pending"
