from pathlib import Path

import pytest

from serendip.data.events.event import Event
from serendip.data.users.user import User
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.jobs.import_files import import_files, read_import_digest
from serendip.jobs.init.workspace import start_workspace

ITEMS = "sku,name\n" + "".join(f"s{number},Chair {number}\n" for number in range(8))
EVENTS = (
    "Kunde,sku,Zeitpunkt,Land,Gerät,Sitzung\n"
    "c1,s1,2024-03-01 10:00:00,DE,phone,v1\n"
    "c2,s2,2024-03-02 10:00:00,,,\n"
)
USERS = "customer_id,Country,age,plan\nc1,AT,31,free\nc2,,,\nc2,CH,44,paid\n"


def start(folder: Path, users: str) -> Workspace:
    for name, text in (("items", ITEMS), ("events", EVENTS), ("users", users)):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    paths = (folder / f"{name}.csv" for name in ("items", "events", "users"))
    items, events, people = paths
    start_workspace(folder / "ws", items, events, False, (), people)
    return Workspace.open(folder / "ws")


def test_country_device_and_visit_are_guessed_and_users_have_attributes(tmp_path):
    workspace = start(tmp_path, USERS)
    assert import_files(workspace) == {"items": 8, "events": 2, "users": 2}
    with workspace.open_store() as store:
        (event,) = store.log.history("c1", 9)
        assert event == Event(
            "c1", "s1", 1709287200.0, session_id="v1", country="DE", device="phone"
        )
        assert store.users.all() == [
            User("c1", {"age": 31.0, "plan": "free", "country": "AT"}),
            User("c2", {"age": 44.0, "plan": "paid", "country": "CH"}),
        ]
    assert read_import_digest(workspace) is not None
    (tmp_path / "users.csv").write_text(USERS.replace("31", "32"))
    assert read_import_digest(workspace) is None


def test_a_broken_row_is_named_by_file_line_column_and_value(tmp_path):
    workspace = start(tmp_path, USERS.replace("c2,CH", f"c2,{'x' * 600}"))
    with pytest.raises(DataError, match=r"users\.csv: 1 row is broken: line 4: .*'Country'.*xxx"):
        import_files(workspace)
