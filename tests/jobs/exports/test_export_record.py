"""Files with ids of users: who is erased meanwhile is not in them, and receipts name the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import on_both_databases

from serendip.data.store.store import Store
from serendip.engine.artefacts.erasure import Eraser, ErasurePlace
from serendip.engine.workspace import Workspace
from serendip.jobs.exports.export import export
from serendip.jobs.exports.export_record import ExportRecord
from serendip.runtime.atomic_files import open_parquet
from serendip.runtime.progress import SilentProgress

SCHEMA = pa.schema([("user_id", "string"), ("rank", "int64")], metadata={"space": "s"})


@pytest.fixture
def workspace(fresh: Path, move_database: Callable[[Path], Path]) -> Workspace:
    return Workspace.open(move_database(fresh))


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with closing(workspace.open_store()) as opened:
        yield opened


def write(workspace: Workspace, store: Store, out: Path, erased: str = "") -> None:
    """Write three users, one of whom may be erased between the first and the last of them."""
    noted = ExportRecord(workspace, store, out)
    out.parent.mkdir(exist_ok=True)
    with open_parquet(out, SCHEMA, noted.finish_users) as file:
        for rank, user in enumerate(("u1", "u2", "u3")):
            file.write_table(pa.table({"user_id": [user], "rank": [rank]}, SCHEMA))
            if erased and not rank:
                Eraser(workspace, store).erase_user(erased)


def place(workspace: Workspace, store: Store, name: str, user: str = "u1") -> ErasurePlace:
    receipt = Eraser(workspace, store).find_receipt(user)
    assert receipt is not None
    return next(one for one in receipt.places if one.place == name)


@on_both_databases
def test_whoever_is_erased_while_a_file_is_written_is_not_in_it(
    workspace: Workspace, store: Store
) -> None:
    out = workspace.embeddings / "users.parquet"
    write(workspace, store, out, "u1")
    assert pq.read_table(out).to_pydict() == {"user_id": ["u2", "u3"], "rank": [1, 2]}
    assert pq.read_schema(out).metadata[b"space"] == b"s"
    assert place(workspace, store, "exports").state == "erased"
    eraser = Eraser(workspace, store)
    eraser.remove_remains()
    assert out.exists()
    eraser.erase_user("u2")
    assert place(workspace, store, "exports", "u1").state == "erased"
    assert place(workspace, store, "exports", "u2").state == "pending"
    eraser.remove_remains()
    assert not out.exists()
    assert place(workspace, store, "exports", "u2").state == "erased"


def test_what_is_being_written_is_pending_and_left_to_its_writer(
    workspace: Workspace, store: Store
) -> None:
    out = workspace.embeddings / "users.parquet"
    workspace.embeddings.mkdir()
    noted = ExportRecord(workspace, store, out)
    with open_parquet(out, SCHEMA, noted.finish_users) as file:
        file.write_table(pa.table({"user_id": ["u1"], "rank": [0]}, SCHEMA))
        eraser = Eraser(workspace, store)
        eraser.erase_user("u1")
        eraser.remove_remains()
        found = place(workspace, store, "exports")
        assert (found.state, "is being written" in found.detail) == ("pending", True)
        assert not eraser.has_remains()
    assert pq.read_table(out).num_rows == 0


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


def test_a_second_file_at_a_path_makes_the_first_no_younger(
    workspace: Workspace, store: Store
) -> None:
    out = workspace.folder / "digest.parquet"
    write(workspace, store, out)
    Eraser(workspace, store).erase_user("u1")
    ExportRecord(workspace, store, out)  # begun, and killed
    assert place(workspace, store, "exports").state == "pending"


@on_both_databases
def test_an_export_is_written_again_if_somebody_is_erased_meanwhile(
    workspace: Workspace, store: Store
) -> None:
    out, names = workspace.folder / "out", iter(["u1", "u2"])

    class Erasing(SilentProgress):
        @contextmanager
        def step(self, *arguments: Any) -> Iterator[None]:
            yield
            if name := next(names, ""):
                Eraser(workspace, store).erase_user(name)

    export(workspace, out, "jsonl", Erasing())
    text = "".join(path.read_text() for path in out.iterdir())
    assert ['"u1"' in text, '"u2"' in text, '"u3"' in text] == [False, False, True]
    assert place(workspace, store, "exports", "u2").state == "erased"
    item = Eraser(workspace, store).erase_item("i1")
    assert next(one for one in item.places if one.place == "exports").state == "pending"
