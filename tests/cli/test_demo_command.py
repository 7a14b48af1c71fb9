import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commands import serendip_here
from small_shop import SETTINGS, WITHOUT_SEARCHES, write_files

from serendip.runtime.atomic_files import PREFIX


def write_small_demo(folder: Path, num_users: int) -> Path:
    """A workspace with the demo's file names, so that the demo takes them for its own."""
    write_files(folder, num_users=num_users)
    (folder / "items.csv").rename(folder / "films.csv")
    (folder / "events.csv").rename(folder / "ratings.csv")
    settings = SETTINGS.replace("items.csv", "films.csv").replace("events.csv", "ratings.csv")
    (folder / "serendip.toml").write_text(settings + WITHOUT_SEARCHES)
    return folder


@contextmanager
def demo(folder: Path) -> Iterator[tuple[HTTPConnection, subprocess.Popen[str], list[str]]]:
    """``serendip demo --json`` on a free port, once its page is ready, and what it said so far."""
    command = [sys.executable, "-m", "serendip", "demo", "-w", os.fspath(folder), "--port", "0"]
    with subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = [""]
        while not said[-1].startswith("Ready:"):
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        address = urlsplit(said[-1].split()[1])
        connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
        try:
            yield connection, process, said
        finally:
            connection.close()
            process.send_signal(signal.SIGINT)


def end(process: subprocess.Popen[str], said: list[str]) -> dict[str, Any]:
    """Ctrl-C; the result, after which nothing went wrong."""
    process.send_signal(signal.SIGINT)
    result: dict[str, Any] = json.loads(process.stdout.read())
    said.append(process.stderr.read())
    assert process.wait() == 0
    assert "Traceback" not in "".join(said)
    return result


def get(connection: HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 300
    while not any((folder / "reports").glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_page_is_served_before_the_report_is_made(tmp_path: Path) -> None:
    folder = write_small_demo(tmp_path / "demo", num_users=45)
    with demo(folder) as (connection, process, said):
        assert "train ranker" in "".join(said)
        assert not (folder / "reports" / "report.html").exists()
        status, home = get(connection, "/")
        assert status == 200
        assert "Quality report" not in home
        wait_for(folder, "report.html")
        connection.close()  # The service may have done so meanwhile: nothing came for long.
        status, report = get(connection, "/report")
        assert status == 200
        assert "Evaluation report" in report
        assert '<a href="/report">Quality report</a>' in get(connection, "/")[1]
        result = end(process, said)
    assert result["generation"] == "gen-1"
    assert result["report"] == str(folder / "reports" / "report.json")
    assert "On the temporal split" in result["verdict"][0]
    assert "On the temporal split" in "".join(said)
    assert "publish" in [stage["name"] for stage in result["stages"]]

    again = serendip_here("demo", "-w", folder, "--no-serve", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["verdict"] == result["verdict"]
    assert "the report is up to date" in again.stderr
    assert (folder / "generations" / "CURRENT").read_text() == "gen-1\n"


def test_ctrl_c_ends_the_measurement_with_the_service(shop: Path) -> None:
    folder = shop
    for name in ("films.csv", "ratings.csv"):  # so that the demo takes the workspace for its own
        (folder / name).touch()
    with demo(folder) as (_, process, said):
        assert "gen-1 is up to date" in "".join(said)
        wait_for(folder, f"{PREFIX}*")
        result = end(process, said)
    assert (result["report"], result["verdict"]) == (None, [])
    assert list((folder / "reports").iterdir()) == []


def test_a_failed_measurement_is_said_and_the_page_stays(tmp_path: Path) -> None:
    folder = write_small_demo(tmp_path / "demo", num_users=5)
    with demo(folder) as (connection, process, said):
        while "could not be measured" not in said[-1]:
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        assert get(connection, "/")[0] == 200
        assert end(process, said)["report"] is None
    assert "too few for a report" in "".join(said)
