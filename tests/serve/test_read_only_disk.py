"""A service over a disk that takes no writes: reads are answered, writes get 503, both at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from stored_files import copy_to_serve, mounted, remount
from wire_client import WireClient, error_of

from serendip.engine.engine import Engine


def test_on_a_read_only_disk_reads_are_answered_and_writes_get_503(
    trained_folder: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=64m") as folder:
        copy_to_serve(trained_folder, folder)
        remount(folder, "ro")
        with closing(Engine.open(folder)) as engine:
            client = WireClient(engine)
            reads = ("/v1/recommend?user_id=u1", "/v1/search?q=horror", "/v1/items/i1", "/?user=u1")
            writes = (
                ("POST", "/v1/events", {"user_id": "u1", "item_id": "i1"}),
                ("POST", "/v1/items", [{"item_id": "new", "title": "A new one"}]),
                ("DELETE", "/v1/items/i1", None),
                ("DELETE", "/v1/users/u1", None),
            )
            for _ in range(2):
                for method, path, body in writes:
                    refused = client.ask(method, path, json=body)
                    assert (refused.status_code, error_of(refused)["type"]) == (503, "storage")
                for path in reads:
                    assert client.get(path).status_code == 200, path
            client.holder.check_storage()
            ready = client.get("/health/ready")
            assert ready.status_code == 200
            assert "read-only" in ready.json()["storage_problem"]
            assert "serendip_takes_writes 0.0" in client.get("/metrics").text
            assert client.get("/v1/items/i1").json()["item_id"] == "i1"
