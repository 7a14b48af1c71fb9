import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, error, judged, serving
from small_shop import import_shop

from serendip.engine.workspace import Workspace
from serendip.errors import DataError, StorageError, UnknownItemError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import ListRequest, write_lists
from serendip.jobs.llm.labels import ask_labels
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.runtime.atomic_files import exclusive_lock

HORROR, COMEDY = "a horror tale", "something funny"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = import_shop(tmp_path / "shop")
    rows = [(query, f"i{number}") for query in (HORROR, COMEDY) for number in range(6)]
    write_csv(folder / "pairs.csv", ("query", "item_id"), rows)
    return folder


def write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def run(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    place = ("--pairs", str(folder / "pairs.csv"), "--out", str(folder / "labels.csv"))
    return invoke("llm", "run", "labels", *place, "-w", str(folder), *more)


def labels_of(folder: Path, name: str = "labels.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def by_genre(body: Body, number: int) -> Reply:
    """Good if the query names the genre."""
    data = data_of(body)
    genre = data["item"]["attributes"]["genre"]
    return completion(judged(body, "good" if genre in data["query"] else "bad"))


def test_pairs_are_estimated_and_labelled_and_calls_are_in_the_ledger(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        code, estimate = run(shop, "--budget", "1", "--estimate")
        cost = estimate["estimate"]
        assert (code, cost["questions"], cost["known"]) == (0, 12, 0)
        assert not server.bodies
        assert not (shop / "labels.csv").exists()
        code, result = run(shop, "--budget", "1")
        assert (code, result["state"], result["written"]) == (0, "complete", 12)
        assert result["spent"] == pytest.approx(12 * 120 / 1e6)
        assert result["spent"] <= result["estimate"]["most"]
        code, again = run(shop, "--budget", "1")
        assert (again["estimate"]["known"], len(server.bodies)) == (12, 12)
    for body in server.bodies:
        data = data_of(body)
        assert set(data) == {"id", "query", "item"}
        assert set(data["item"]) == {"title", "attributes"}
        assert set(data["item"]["attributes"]) == {"genre"}
        assert set(body) == {"model", "messages", "response_format", "max_tokens", "temperature"}
    rows = labels_of(shop)
    assert {row["label"] for row in rows} == {"good", "bad"}
    assert {(row["source"], row["model"], row["prompt"]) for row in rows} == {
        ("llm", "m", "judge-1")
    }
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    (job,) = ledger["jobs"]
    assert (job["job"], job["calls"], job["ok"]) == ("labels.csv", 12, 12)
    assert (job["tokens_sent"], job["tokens_answered"]) == (1200, 120)


def test_lists_have_a_prompt_of_their_own(shop: Path) -> None:
    context, files = JobContext.open(shop), (shop / "lists.csv", shop / "labels.csv")
    write_lists(files[0], "home", [(ListRequest("Somebody"), ["i1"])])
    assert ask_labels(context, *files).task.prompt.name == "judge-list-1"
    assert ask_labels(context, shop / "pairs.csv", files[1]).task.prompt.name == "judge-1"


def test_two_runs_of_a_job_do_not_pay_twice(shop: Path) -> None:
    configure(shop, "http://127.0.0.1:9/v1")
    name = hashlib.sha256(b"labels.csv").hexdigest()[:16]
    with (
        exclusive_lock(shop / "cache" / "llm" / name),
        pytest.raises(StorageError, match="another process"),
    ):
        run(shop, "--budget", "1")


def test_llm_settings_do_not_change_the_fingerprint(shop: Path) -> None:
    before = compute_fingerprint(Workspace.open(shop), 0)
    configure(shop, "http://127.0.0.1:9/v1")
    assert compute_fingerprint(Workspace.open(shop), 0) == before


def test_an_incomplete_run_writes_a_partial_file_and_is_resumed(shop: Path) -> None:
    def script(body: Body, number: int) -> Reply:
        return error(429, "insufficient_quota") if number == 5 else by_genre(body, number)

    with serving(script) as server:
        configure(shop, server.address)
        code, result = run(shop, "--budget", "1")
        assert (code, result["state"], result["written"], result["failed"]) == (1, "partial", 5, 1)
        assert "quota" in result["reason"]
        assert result["out"] == str(shop / "labels.partial.csv")
        assert len(labels_of(shop, "labels.partial.csv")) == 5
        assert not (shop / "labels.csv").exists()
        code, whole = run(shop, "--budget", "1")
        assert (code, whole["state"], len(server.bodies)) == (0, "complete", 13)
        assert not (shop / "labels.partial.csv").exists()
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    (failure,) = ledger["failures"]
    assert failure["calls"] == 1
    assert failure["failure"].startswith("quota")


def test_pairs_of_unknown_items_are_refused(shop: Path) -> None:
    configure(shop, "http://127.0.0.1:9/v1")
    write_csv(shop / "pairs.csv", ("query", "item_id"), [("x", "nothing")])
    with pytest.raises(UnknownItemError, match="'nothing'"):
        run(shop, "--budget", "1")
    write_csv(shop / "pairs.csv", ("query", "product"), [("x", "i1")])
    with pytest.raises(DataError, match="no column 'item_id'"):
        run(shop, "--budget", "1")
