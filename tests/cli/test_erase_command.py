from contextlib import closing
from pathlib import Path

from commands import invoke, serendip_here

from serendip.engine.workspace import Workspace


def test_users_are_erased_with_their_bytes_and_a_receipt_without_their_ids(fresh: Path) -> None:
    code, document = invoke("erase", "user", "u1", "u2", "-w", str(fresh))
    assert code == 0
    for receipt in document["receipts"]:
        assert receipt["kind"] == "user"
        assert receipt["events"] > 7
        assert receipt["is_complete"]
        assert len(receipt["digest"]) == 64
    with closing(Workspace.open(fresh).open_store()) as store:
        assert store.log.history("u1", 9) == store.log.history("u2", 9) == []
        assert not store.has_remains()
    code, again = invoke("erase", "receipt", "u1", "never erased", "-w", str(fresh))
    (shown,), first = again["receipts"], document["receipts"][0]
    assert (code, shown["erased_at"], shown["digest"]) == (0, first["erased_at"], first["digest"])
    done = serendip_here("erase", "user", "u1", "-w", fresh)
    assert done.stdout.splitlines()[0].endswith(", 0 events")
    assert "u1" not in done.stdout


def test_an_item_is_erased_and_so_is_one_that_was_never_stored(fresh: Path) -> None:
    code, document = invoke("erase", "item", "i3", "-w", str(fresh))
    (receipt,) = document["receipts"]
    assert (code, receipt["digest"], receipt["is_complete"]) == (0, "i3", True)
    with closing(Workspace.open(fresh).open_store()) as store:
        assert store.item("i3") is None
    assert b"tale number 3\x00" not in (fresh / "serendip.db").read_bytes()
    code, document = invoke("erase", "item", "only in the next file", "-w", str(fresh))
    assert (code, document["receipts"][0]["digest"]) == (0, "only in the next file")
    with closing(Workspace.open(fresh).open_store()) as store:
        assert "only in the next file" in store.erased_items()
