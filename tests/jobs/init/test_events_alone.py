"""A log of events without a catalogue: the items are those that it names."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from commands import serendip_here

from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError
from serendip.jobs.import_files import import_files
from serendip.jobs.init.workspace import start_workspace

EVENTS = "user,item,time\n" + "".join(
    f"u{n % 3},{item},{1_700_000_000 + n}\n" for n, item in enumerate(["b", "a", " a ", "c"])
)


def items_of(folder: Path) -> list[tuple[str, str]]:
    with closing(Workspace.open(folder).open_store()) as store:
        return sorted((item.item_id, item.title) for item in store.items())


def test_a_log_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EVENTS)
    done = serendip_here("init", "--events", "log.csv", "-w", "ws", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 items, 4 events imported." in done.stdout
    assert items_of(tmp_path / "ws") == [("a", ""), ("b", ""), ("c", "")]


def test_a_catalogue_with_gaps_is_filled_from_the_log_by_a_setting(
    tmp_path: Path,
) -> None:
    (tmp_path / "log.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text("item,name\na,An A\nd,A D\n")
    folder = tmp_path / "ws"
    start_workspace(folder, tmp_path / "items.csv", tmp_path / "log.csv", False)
    import_files(Workspace.open(folder))
    assert items_of(folder) == [("a", "An A"), ("d", "A D")]
    settings = folder / "serendip.toml"
    settings.write_text(settings.read_text().replace("[items]", "[items]\nfrom_events = true", 1))
    import_files(Workspace.open(folder))
    assert items_of(folder) == [("a", "An A"), ("b", ""), ("c", ""), ("d", "A D")]


def test_ids_that_no_item_may_have_refuse_the_log_by_line(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EVENTS + f"u,{'x' * 600},1700000000\n")
    start_workspace(tmp_path / "ws", None, tmp_path / "log.csv", False)
    with pytest.raises(DataError, match="line 6: item_id"):
        import_files(Workspace.open(tmp_path / "ws"))


def test_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        start_workspace(tmp_path / "ws", None, None, False)
    assert caught.value.hint == "Add --items FILE or --events FILE."
