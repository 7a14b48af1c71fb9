"""Labels by an LLM over the commands: estimate, run, resume, ledger, and the gate before use."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from fault_server import Body, Reply, completion, data_of, error, judged, serving
from small_shop import write_files
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError, UnknownItemError
from serendip.workflow.importing import import_files
from serendip.workflow.judge.gate import Gate, gate_labels

HORROR, COMEDY = "a horror tale", "something funny"


def invoke(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON document of a command; its error where it fails."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write_files(folder)
    import_files(Workspace.open(folder))
    rows = [(query, f"i{number}") for query in (HORROR, COMEDY) for number in range(6)]
    write_csv(folder / "pairs.csv", ("query", "item_id"), rows)
    return folder


def write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def configure(folder: Path, address: str) -> None:
    with (folder / "serendip.toml").open("a") as stream:
        stream.write(
            f'\n[llm]\nprovider = "endpoint"\nbase_url = "{address}"\nmodel = "m"\n'
            "input_price = 1.0\noutput_price = 2.0\nconcurrency = 1\n"
        )


def run(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    place = ("--pairs", str(folder / "pairs.csv"), "--out", str(folder / "labels.csv"))
    return invoke("judge", "run", *place, "-w", str(folder), *more)


def labels_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def by_genre(body: Body, number: int) -> Reply:
    """Good where the genre is in the query."""
    data = data_of(body)
    return completion(judged(body, "good" if data["genre"] in data["query"] else "bad"))


def test_pairs_are_estimated_labelled_and_told_in_the_ledger(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        code, told = run(shop, "--budget", "1", "--estimate")
        assert (code, told["estimate"]["questions"], told["estimate"]["known"]) == (0, 12, 0)
        assert not server.bodies
        assert not (shop / "labels.csv").exists()
        code, found = run(shop, "--budget", "1")
        assert (code, found["state"], found["labelled"]) == (0, "complete", 12)
        assert found["spent"] == pytest.approx(12 * 120 / 1e6)
        assert found["spent"] <= found["estimate"]["most"]
        code, again = run(shop, "--budget", "1")
        assert (again["estimate"]["known"], len(server.bodies)) == (12, 12)
    rows = labels_of(shop)
    assert {row["label"] for row in rows} == {"good", "bad"}
    assert {(row["source"], row["model"], row["prompt"]) for row in rows} == {
        ("llm", "m", "judge-1")
    }
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    (job,) = ledger["jobs"]
    assert (job["job"], job["calls"], job["ok"]) == ("labels.csv", 12, 12)
    assert (job["tokens_sent"], job["tokens_answered"]) == (1200, 120)


def test_what_leaves_are_words_and_items_and_nobody(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        run(shop, "--budget", "1")
    for body in server.bodies:
        assert set(data_of(body)) == {"id", "query", "title", "genre"}
        assert set(body) == {"model", "messages", "response_format", "max_tokens", "temperature"}


def test_a_run_that_ends_early_is_partial_and_goes_on(shop: Path) -> None:
    def script(body: Body, number: int) -> Reply:
        return by_genre(body, number) if number < 5 else error(429, "insufficient_quota")

    with serving(script) as server:
        configure(shop, server.address)
        code, found = run(shop, "--budget", "1")
    assert (code, found["state"], found["labelled"], found["failed"]) == (1, "partial", 5, 1)
    assert "quota" in found["reason"]
    assert len(labels_of(shop)) == 5
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    (failure,) = ledger["failures"]
    assert failure["calls"] == 1
    assert failure["failure"].startswith("quota")


def test_a_budget_is_that_of_all_runs_of_the_job(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        _, told = run(shop, "--budget", "0", "--estimate")
        budget = told["estimate"]["most"] / 12 + 2.5 * 120 / 1e6
        for _ in range(2):  # The second run has nothing left to spend.
            code, found = run(shop, "--budget", str(budget))
            assert (code, found["reason"]) == (1, "the budget is spent")
            assert 3 <= len(server.bodies) <= 4
            assert found["spent"] <= budget
        code, whole = run(shop, "--budget", "0.1")
        assert (code, whole["state"], len(server.bodies)) == (0, "complete", 12)


def test_nothing_is_asked_where_nothing_is_configured(shop: Path) -> None:
    with pytest.raises(ConfigError, match="no LLM is configured"):
        run(shop, "--budget", "1")
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    assert ledger == {"jobs": [], "failures": []}


def test_pairs_of_unknown_items_are_told(shop: Path) -> None:
    configure(shop, "http://127.0.0.1:9/v1")
    write_csv(shop / "pairs.csv", ("query", "item_id"), [("x", "nothing")])
    with pytest.raises(UnknownItemError, match="'nothing'"):
        run(shop, "--budget", "1")
    write_csv(shop / "pairs.csv", ("query", "product"), [("x", "i1")])
    with pytest.raises(DataError, match="no column 'item_id'"):
        run(shop, "--budget", "1")


COLUMNS = ("query", "item_id", "label")


def gold_rows(queries: int = 30) -> list[tuple[str, ...]]:
    """Half of four items are bad for every query."""
    return [
        (f"q{query}", f"i{item}", "IESC"[item]) for query in range(queries) for item in range(4)
    ] + [(f"q{query}", f"i{4 + item}", "I") for query in range(queries) for item in range(2)]


def gate(folder: Path, rows: list[tuple[str, ...]], floor: float = 0.6, **more: Any) -> Any:
    labels = write_csv(folder / "labels.csv", COLUMNS, rows)
    gold = write_csv(folder / "gold.csv", COLUMNS, gold_rows())
    return gate_labels(Gate(labels, gold, floor, **more))


def test_labels_that_agree_pass_and_others_fail(tmp_path: Path) -> None:
    same = [(query, item, "bad" if label == "I" else "good") for query, item, label in gold_rows()]
    found = gate(tmp_path, same)
    assert (found["verdict"], found["kappa"], found["ci95"]["kappa"]) == ("passed", 1.0, [1.0, 1.0])
    assert (found["pairs"], found["queries"], found["unlabelled"]) == (180, 30, 0)
    good = [(query, item, "good") for query, item, _ in same]
    assert gate(tmp_path, good)["verdict"] == "failed"


def test_the_lower_end_of_the_interval_decides(tmp_path: Path) -> None:
    """A fifth of the queries judged the wrong way round: kappa .6, and its lower end below that."""
    swap = {"I": "good", "E": "bad", "S": "bad", "C": "bad"}
    keep = {"I": "bad", "E": "good", "S": "good", "C": "good"}
    rows = [
        (query, item, (swap if int(query[1:]) % 5 == 0 else keep)[label])
        for query, item, label in gold_rows()
    ]
    found = gate(tmp_path, rows, 0.55)
    assert found["kappa"] == pytest.approx(0.6)
    assert found["ci95"]["kappa"][0] < 0.55
    assert found["verdict"] == "failed"
    assert gate(tmp_path, rows, found["ci95"]["kappa"][0])["verdict"] == "passed"


def test_no_verdict_on_queries_that_were_seen(tmp_path: Path) -> None:
    seen = write_csv(tmp_path / "tuned.csv", ("query", "item_id"), [("q7", "other"), ("x", "y")])
    found = gate(tmp_path, gold_rows(), seen=[seen])
    assert (found["verdict"], "kappa" in found) == ("refused", False)
    assert "'q7'" in found["reason"]


def test_no_verdict_on_a_few_pairs(tmp_path: Path) -> None:
    found = gate(tmp_path, gold_rows(9))
    assert found["verdict"] == "refused"
    assert "54 pairs of 9 queries" in found["reason"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q", "i", "fine")], "the label 'fine'"),
        ([("q", "i", "good"), ("q", "i", "bad")], "both good and bad"),
    ],
)
def test_broken_labels_are_told(tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        gate(tmp_path, rows)
    with pytest.raises(ConfigError, match="between -1 and 1"):
        gate(tmp_path, gold_rows(), floor=2.0)


def test_the_gate_tells_by_its_exit_code(tmp_path: Path) -> None:
    files = [str(write_csv(tmp_path / f"{n}.csv", COLUMNS, gold_rows())) for n in "ab"]
    done = CliRunner().invoke(app, ["judge", "gate", "--labels", files[0], "--gold", files[1]])
    assert (done.exit_code, done.stdout.split(":")[0]) == (0, "passed")
    code, _ = invoke("judge", "gate", "--labels", files[0], "--gold", files[1], "--seen", files[0])
    assert code == 1
