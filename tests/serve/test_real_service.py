import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from processes import Client, serving, wait_until
from stand import train

from serendip.engine.artefacts.generations import open_current, publish, rollback
from serendip.runtime.versions import MANIFEST, compute_checksums, seal

COUNTS = "models/_numbers/0-counts.npy"
EVERY_S = 0.02
"""Between two requests to a service that changes."""


def test_acknowledged_events_survive_kill_9_and_sigterm_ends_with_0(shop: Path) -> None:
    with serving(shop) as (client, process):
        for number in range(20):
            event = {"user_id": "killed", "item_id": f"i{number}", "action": "like"}
            status, answer = client.ask("POST", "/v1/events", event)
            assert status in (200, 201, 202)
            assert answer["new"] == 1
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with serving(shop) as (client, process):
        status, answer = client.ask("GET", "/v1/users/killed/history?limit=100")
        assert status == 200
        assert len(answer["events"]) == 20
        home = client.ask("GET", "/v1/recommend?surface=home&user_id=killed&limit=100")[1]
        shown = {item["item_id"] for item in home["items"]}
        assert shown
        assert not shown & {f"i{number}" for number in range(20)}
    assert process.returncode == 0


def test_what_was_chosen_after_a_search_is_found_by_it_and_still_after_a_post(stand: Path) -> None:
    def find(client: Client) -> list[str]:
        found = client.ask("GET", "/v1/search?q=Mothers%20Day%20gift&parts=true")[1]["items"]
        return [item["item_id"] for item in found if item["parts"]["bm25"] > 0]

    with serving(stand) as (client, _):
        assert find(client) == []
        for number in range(3):
            event = {"user_id": f"m{number}", "item_id": "i7", "query": "mother's day gift"}
            assert client.ask("POST", "/v1/events", event | {"action": "click"})[0] == 200
    train(stand, seed=1)
    with serving(stand) as (client, _):
        assert find(client) == ["i7"]
        item = client.ask("GET", "/v1/items/i7")[1]
        changed = {"item_id": "i7", "title": item["title"], "description": "On offer."}
        assert client.ask("POST", "/v1/items", changed)[0] == 200
        assert find(client) == ["i7"]


def publish_copy(shop: Path) -> Path:
    """Publish the first generation once more; the folder of the second one."""
    first = open_current(shop / "generations")
    facts = {key: first.manifest[key] for key in ("item_version", "settings", "fingerprint")}

    def copy(building: Path) -> None:
        shutil.copytree(first.folder, building, dirs_exist_ok=True)
        (building / MANIFEST).unlink()

    return publish(shop / "generations", copy, facts).folder


def put_damaged(generations: Path, name: str, harm: Callable[[Path], None]) -> None:
    """Name a damaged copy of the first generation as the published one: it never was whole."""
    first, folder = generations / "gen-1", generations / name
    shutil.copytree(first, folder)
    manifest = json.loads((first / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(seal(manifest | {"name": name}))
    harm(folder)
    temporary = generations / "CURRENT.new"
    temporary.write_text(f"{name}\n")
    temporary.replace(generations / "CURRENT")


def put_nan(folder: Path) -> None:
    """Put a value that is no number into an array, with the right checksums."""
    path = folder / COUNTS
    array = np.load(path).astype(np.float64)
    array[0] = np.nan
    np.save(path, array)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(seal(manifest | {"files": compute_checksums(folder)}))


HARMS: tuple[Callable[[Path], object], ...] = (  # all kinds of damage: see test_generations.py
    lambda folder: (folder / COUNTS).write_bytes((folder / COUNTS).read_bytes()[:-7]),
    lambda folder: (folder / MANIFEST).unlink(),
    put_nan,
)


def test_a_service_goes_on_with_the_old_generation_whatever_damages_the_new_one(shop: Path) -> None:
    def refused(client: Client) -> list[str]:
        """Generations that the metrics name as refused; requests are answered meanwhile."""
        assert client.ask("GET", "/v1/recommend?user_id=u1&limit=3")[1]["generation"] == "gen-1"
        client.connection.request("GET", "/metrics")
        lines = client.connection.getresponse().read().decode()
        return re.findall(r'serendip_refused_generation_info{generation="(.+)"} 1.0', lines)

    with serving(shop) as (client, _):
        assert refused(client) == []
        for number, harm in enumerate(HARMS, start=2):
            name = f"gen-{number}"
            put_damaged(shop / "generations", name, harm)
            wait_until(
                lambda name=name: refused(client) == [name], f"{name} refused", every_s=EVERY_S
            )
        assert client.ask("GET", "/health/ready")[1]["refused_generation"] == name
        put_damaged(shop / "generations", f"gen-{number + 1}", lambda folder: None)
        wait_until(
            lambda: client.ask("GET", "/health/ready")[1]["generation"] != "gen-1",
            "the whole one",
            every_s=EVERY_S,
        )


def answers_with(client: Client, item_id: str, paths: tuple[str, ...]) -> list[str]:
    """The paths of which the answer shows an item: its id in JSON, a link to it on a page."""
    shown = []
    for path in paths:
        client.connection.request("GET", path)
        answer = client.connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, (path, text)
        if re.search(rf'"item_id": ?"{item_id}"|/items/{item_id}["?]', text):
            shown.append(path)
    return shown


def test_a_deleted_item_is_in_no_answer_then_or_after_a_swap_and_a_restart(shop: Path) -> None:
    event = {"user_id": "new", "item_id": "i0", "action": "like"}
    with serving(shop) as (client, _):
        assert client.ask("POST", "/v1/events", event)[0] == 200
        home = client.ask("GET", "/v1/recommend?user_id=new&limit=1")[1]["items"]
        gone = home[0]["item_id"]
        other = client.ask("GET", f"/v1/items/{gone}/similar?limit=1")[1]["items"][0]["item_id"]
        title = client.ask("GET", f"/v1/items/{gone}")[1]["title"].replace(" ", "+")
        paths = (
            "/v1/recommend?user_id=new&limit=60",
            f"/v1/items/{other}/similar?limit=60",
            f"/v1/search?q={title}&limit=60",
            f"/v1/suggest?q={title}",
            "/?user=new",
            f"/items/{other}?user=new",
            f"/search?q={title}",
        )
        assert answers_with(client, gone, paths) == list(paths)
        assert client.ask("DELETE", f"/v1/items/{gone}")[0] == 200
        assert answers_with(client, gone, paths) == []
        publish_copy(shop)  # a generation with the item
        wait_until(
            lambda: client.ask("GET", paths[0])[1]["generation"] == "gen-2",
            "the second generation",
            every_s=EVERY_S,
        )
        assert answers_with(client, gone, paths) == []
    with serving(shop) as (client, _):
        assert answers_with(client, gone, paths) == []
        for path in (f"/v1/items/{gone}", f"/v1/items/{gone}/similar"):
            assert client.ask("GET", path)[0] == 404


def test_writes_are_refused_and_reads_answered_when_the_database_is_deleted(shop: Path) -> None:
    event = {"user_id": "u1", "item_id": "i1", "action": "like"}
    with serving(shop) as (client, _):
        assert client.ask("POST", "/v1/events", event)[0] == 200
        (shop / "serendip.db").unlink()
        for method, path, body in (
            ("POST", "/v1/events", event),
            ("POST", "/v1/items", {"item_id": "new", "title": "New"}),
            ("DELETE", "/v1/items/i2", None),
        ):
            status, answer = client.ask(method, path, body)
            assert (status, answer["error"]["type"]) == (503, "storage")
            assert "Nothing was stored" in answer["error"]["message"]
            assert os.fspath(shop) not in json.dumps(answer)
        assert client.ask("GET", "/v1/users/u1/history")[0] == 200
        assert client.ask("GET", "/v1/items/i2")[0] == 200
        assert client.ask("GET", "/v1/items/new")[0] == 404

        def is_degraded() -> bool:
            status, ready = client.ask("GET", "/health/ready")
            assert status == 200
            return bool(ready["degraded"])

        wait_until(is_degraded, "the report of it", every_s=EVERY_S)
        ready = client.ask("GET", "/health/ready")[1]
        assert "serendip.db was deleted" in ready["storage_problem"]


def test_the_serving_process_imports_nothing_that_trains(shop: Path) -> None:
    code = f"""
import sys
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.serve.access import Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import EngineGate
engine = Engine.open({os.fspath(shop)!r})
holder = EngineHolder()
holder.swap(engine)
build_app(EngineGate(holder), Access())
engine.search("horror tale", user_id="u1")
engine.recommend(Request("home", "u1"))
engine.similar("i1")
engine.explain(Request("home", "u1"), "i1")
assert engine.history("u1")
from serendip.data.items.catalogue import Item
engine.add_items([Item("x", "A new one")])
trains = {{"torch", "lightgbm", "sklearn", "pandas", "duckdb", "faiss"}}
print(sorted(trains & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_services_on_one_workspace_obey_each_other(shop: Path) -> None:
    """Neither knows of the other: each reads within a second what the other wrote."""

    def until(client: Client, path: str, status: int) -> None:
        name = f"{status} for {path}"
        wait_until(lambda: client.ask("GET", path)[0] == status, name, every_s=EVERY_S)

    with serving(shop) as (one, first), serving(shop) as (other, second):
        assert (
            one.ask("POST", "/v1/items", {"item_id": "shared", "title": "Zebra quartet"})[0] == 200
        )
        until(other, "/v1/items/shared", 200)
        shown = other.ask("GET", "/v1/search?q=zebra+quartet")[1]["items"]
        assert shown[0]["item_id"] == "shared"
        event = {"user_id": "both", "item_id": "shared", "action": "like"}
        assert other.ask("POST", "/v1/events", event)[1]["new"] == 1
        assert len(one.ask("GET", "/v1/users/both/history")[1]["events"]) == 1
        assert other.ask("DELETE", "/v1/items/shared")[0] == 200
        until(one, "/v1/items/shared", 404)
        found = one.ask("GET", "/v1/search?q=zebra+quartet")[1]["items"]
        assert "shared" not in {item["item_id"] for item in found}
        assert one.ask("DELETE", "/v1/users/both")[0] == 200
        assert other.ask("GET", "/v1/users/both/history")[1]["events"] == []
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_damaged_generation_is_stood_in_for_at_the_start_until_a_rollback(shop: Path) -> None:
    damaged = publish_copy(shop) / COUNTS
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with serving(shop) as (client, _):
        status, ready = client.ask("GET", "/health/ready")
        assert (status, ready["generation"], ready["degraded"]) == (200, "gen-1", True)
        assert ready["refused_generation"] == "gen-2"
        assert client.ask("GET", "/v1/recommend?surface=home")[1]["generation"] == "gen-1"
        rollback(shop / "generations")
        wait_until(
            lambda: not client.ask("GET", "/health/ready")[1]["degraded"],
            "the end of the substitution",
            every_s=EVERY_S,
        )
        ready = client.ask("GET", "/health/ready")[1]
        assert (ready["generation"], ready["refused_generation"]) == ("gen-1", "")
