"""``serendip erase``: erases users or items from a workspace, and shows a receipt for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import JsonOption, Terminal, WorkspaceOption, build_group, open_workspace
from serendip.errors import StorageError

if TYPE_CHECKING:
    from serendip.engine.artefacts.erasure import Eraser, ErasureReceipt

app = build_group("erase", "Erase users or items for good, with a receipt of every place.")

IdsArgument = Annotated[list[str], typer.Argument(help="Ids.")]


@app.command("user")
def erase_users(
    ids: IdsArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False
) -> None:
    """Erase users: events, attributes and all that is known of them.

    A running service obeys at once. Called again, it erases what came since.
    """
    _erase(lambda eraser: [eraser.erase_user(user_id) for user_id in ids], workspace, json)


@app.command("receipt")
def show_receipts(
    ids: IdsArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False
) -> None:
    """Show what has become of users' last erasures; erases nothing."""
    from serendip.engine.artefacts.erasure import Eraser

    terminal, opened = Terminal(json), open_workspace(workspace)
    with closing(opened.open_store()) as store:
        eraser = Eraser(opened, store)
        found = [eraser.find_receipt(user_id) for user_id in ids]
    receipts = [receipt for receipt in found if receipt is not None]
    if missing := len(found) - len(receipts):
        terminal.say(f"{missing:,} of {len(found):,} users were never erased.")
    _show_all(terminal, receipts)


@app.command("item")
def erase_items(
    ids: IdsArgument, workspace: WorkspaceOption = Path(), json: JsonOption = False
) -> None:
    """Erase items: deletes them with their texts and attributes; only their ids stay."""
    _erase(lambda eraser: [eraser.erase_item(item_id) for item_id in ids], workspace, json)


def _erase(
    erase: Callable[[Eraser], Sequence[ErasureReceipt]], workspace: Path, json: bool
) -> None:
    from serendip.engine.artefacts.erasure import Eraser

    terminal, opened = Terminal(json), open_workspace(workspace)
    with closing(opened.open_store()) as store:
        eraser = Eraser(opened, store)
        erased = erase(eraser)
        try:
            eraser.remove_remains()
        except StorageError as error:  # Everybody obeys already; the receipts say what is left.
            terminal.say(f"WARNING: bytes are left: {error}")
        receipts = [eraser.renew(receipt) for receipt in erased]
    _show_all(terminal, receipts)


def _show_all(terminal: Terminal, receipts: list[ErasureReceipt]) -> None:
    from pydantic import TypeAdapter

    from serendip.engine.artefacts.erasure import ErasureReceipt

    for receipt in receipts:
        name = receipt.digest if receipt.kind == "item" else f"{receipt.digest[:12]}..."
        terminal.say(
            f"{receipt.kind} {name}: erased {receipt.erased_at}, {receipt.events:,} events",
            *(f"  {one.state:<7}  {one.place:<18} {one.detail}" for one in receipt.places),
        )
    documents = TypeAdapter(list[ErasureReceipt]).dump_python(receipts, mode="json")
    terminal.result({"receipts": documents})
