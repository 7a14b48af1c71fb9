from contextlib import closing
from pathlib import Path

from commands import invoke, serendip_here

from serendip.data.events.event import Event
from serendip.engine.workspace import Workspace


def put_events(shop: Path, count: int) -> None:
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_events(Event(f"late{row % 5}", f"i{row}", 1.7e9 + row) for row in range(count))


def test_a_stale_generation_is_continued_once_and_told(shop: Path) -> None:
    code, document = invoke("train", "-w", str(shop), "--if-stale")
    assert (code, document["trained"], document["generation"]) == (0, False, "gen-1")
    put_events(shop, 60)
    told = serendip_here("status", "-w", shop)
    assert told.returncode == 0, told.stderr
    assert "stale        yes: 60 new events" in told.stdout
    code, document = invoke("train", "-w", str(shop), "--if-stale")
    assert (code, document["trained"], document["generation"]) == (0, True, "gen-2")
    assert document["warm_start"]["generation"] == "gen-1"
    assert document["reasons"][0].startswith("60 new events")
    code, document = invoke("status", "-w", str(shop))
    assert (code, document["stale"], document["training"]) == (0, False, None)
    assert document["in_force"]["warm_start"] == "gen-1"
    assert document["last"]["reasons"][0].startswith("60 new events")
    lines = serendip_here("status", "-w", shop).stdout
    assert "continued from gen-1" in lines
    assert "stale        no" in lines


def test_a_workspace_without_a_generation_says_what_to_do(fresh: Path) -> None:
    lines = serendip_here("status", "-w", fresh).stdout
    assert "nothing: run `serendip train`" in lines
    assert "stale        yes: no generation is published" in lines
