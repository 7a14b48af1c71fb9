"""Labels by an LLM, through the commands: estimate, run, resume, ledger, and the gate."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, error, judged, serving
from small_shop import import_shop
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.items.catalogue import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, DataError, StorageError, UnknownItemError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.agreement import Gate, gate_labels
from serendip.jobs.labels.by_llm import Labelling, label_pairs
from serendip.jobs.llm.job import LlmJob
from serendip.jobs.train.fingerprint import compute_fingerprint
from serendip.llm.prompts import Prompt, query_digest
from serendip.llm.tasks import judge_task
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import SilentProgress, TrainOptions, empty_note

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
    return invoke("judge", "run", *place, "-w", str(folder), *more)


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
        assert (code, result["state"], result["labelled"]) == (0, "complete", 12)
        assert result["spent"] == pytest.approx(12 * 120 / 1e6)
        assert result["spent"] <= result["estimate"]["most"]
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


class Notes(SilentProgress):
    """Keeps the note of a loop after each of its parts."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.notes: list[str] = []

    def track(
        self,
        items: Iterable[Any],
        description: str,
        total: int,
        note: Callable[[], str] = empty_note,
    ) -> Iterator[Any]:
        self.totals.append(total)
        for item in items:
            yield item
            self.notes.append(note())


def test_progress_shows_answers_and_spend(shop: Path) -> None:
    progress = Notes()
    labelling = Labelling(shop / "pairs.csv", shop / "labels.csv")
    with serving(by_genre) as server:
        configure(shop, server.address)
        context = JobContext.open(shop, TrainOptions(progress=progress))
        result = label_pairs(context, labelling, LlmJob("labels.csv", 1.0))
    assert result["state"] == "complete"
    assert (progress.totals, len(progress.notes)) == ([12], 12)
    assert f"{12 * 120 / 1e6:.4g} of 1 spent" in progress.notes[-1]


def test_only_queries_and_items_are_sent(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        run(shop, "--budget", "1")
    for body in server.bodies:
        data = data_of(body)
        assert set(data) == {"id", "query", "item"}
        assert set(data["item"]) == {"title", "attributes"}
        assert set(data["item"]["attributes"]) == {"genre"}
        assert set(body) == {"model", "messages", "response_format", "max_tokens", "temperature"}


def test_attribute_names_cannot_overwrite_query_or_title(shop: Path) -> None:
    with closing(Workspace.open(shop).open_store()) as store:
        item = Item("odd", "A tale", "", {"query": "something else", "id": "7", "title": "no"})
        store.put_items([item])
    write_csv(shop / "pairs.csv", ("query", "item_id"), [(HORROR, "odd")])
    with serving(lambda body, _: completion(judged(body))) as server:
        configure(shop, server.address)
        code, _ = run(shop, "--budget", "1")
    (body,) = server.bodies
    data = data_of(body)
    assert (code, data["query"], data["item"]["title"]) == (0, HORROR, "A tale")
    assert data["item"]["attributes"]["query"] == "something else"


def test_two_runs_of_a_job_do_not_pay_twice(shop: Path) -> None:
    configure(shop, "http://127.0.0.1:9/v1")
    name = hashlib.sha256(b"labels.csv").hexdigest()[:16]
    with (
        exclusive_lock(shop / "cache" / "llm" / name),
        pytest.raises(StorageError, match="another process"),
    ):
        run(shop, "--budget", "1")


def test_a_budget_needs_prices(shop: Path) -> None:
    with (shop / "serendip.toml").open("a") as stream:
        stream.write('[llm]\nprovider = "endpoint"\nbase_url = "http://x/v1"\nmodel = "m"\n')
    with pytest.raises(ConfigError, match="input_price"):
        run(shop, "--budget", "1")


def test_llm_settings_do_not_change_the_fingerprint(shop: Path) -> None:
    before = compute_fingerprint(Workspace.open(shop), 0)
    configure(shop, "http://127.0.0.1:9/v1")
    assert compute_fingerprint(Workspace.open(shop), 0) == before


def test_an_incomplete_run_writes_a_partial_file(shop: Path) -> None:
    def script(body: Body, number: int) -> Reply:
        return by_genre(body, number) if number < 5 else error(429, "insufficient_quota")

    with serving(script) as server:
        configure(shop, server.address)
        code, result = run(shop, "--budget", "1")
    assert (code, result["state"], result["labelled"], result["failed"]) == (1, "partial", 5, 1)
    assert "quota" in result["reason"]
    assert result["out"] == str(shop / "labels.partial.csv")
    assert len(labels_of(shop, "labels.partial.csv")) == 5
    assert not (shop / "labels.csv").exists()
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    (failure,) = ledger["failures"]
    assert failure["calls"] == 1
    assert failure["failure"].startswith("quota")


def test_a_budget_covers_all_runs_of_a_job(shop: Path) -> None:
    with serving(by_genre) as server:
        configure(shop, server.address)
        _, estimate = run(shop, "--budget", "0", "--estimate")
        budget = estimate["estimate"]["most"] / 12 + 2.5 * 120 / 1e6
        for _ in range(2):  # The second run has nothing left to spend.
            code, result = run(shop, "--budget", str(budget))
            assert (code, result["reason"]) == (1, "the budget is spent")
            assert 3 <= len(server.bodies) <= 4
            assert result["spent"] <= budget
        code, whole = run(shop, "--budget", "0.1")
        assert (code, whole["state"], len(server.bodies)) == (0, "complete", 12)
    assert not (shop / "labels.partial.csv").exists()


def test_pairs_are_labelled_by_a_batch_file(shop: Path) -> None:
    """Written, answered in part, forgotten and resumed: nothing is paid for twice unasked."""
    out, answers = shop / "out.jsonl", shop / "in.jsonl"
    with serving(by_genre) as server:
        configure(shop, server.address)
        code, batch = run(shop, "--budget", "1", "--batch-file", str(out))
        assert (code, batch["state"], batch["written"], batch["left"]) == (0, "batched", 12, 0)
        assert batch["spent"] == pytest.approx(batch["estimate"]["most"])
        code, waiting = run(shop, "--budget", "1")
        assert (code, waiting["state"], waiting["batched"], waiting["labelled"]) == (
            1,
            "partial",
            12,
            0,
        )
        assert not server.bodies
        _, ledger = invoke("llm", "ledger", "-w", str(shop))
        assert ledger["jobs"][0]["batched"] == 12
        with answers.open("w") as stream:
            for line in out.read_text().splitlines()[:9]:
                question = json.loads(line)
                body = json.loads(by_genre(question["body"], 0).body)
                response = {"status_code": 200, "body": body}
                row = {"custom_id": question["custom_id"], "response": response, "error": None}
                stream.write(json.dumps(row) + "\n")
        code, some = run(shop, "--budget", "1", "--batch-answers", str(answers))
        assert (code, some["labelled"], some["batched"], len(server.bodies)) == (1, 9, 3, 0)
        assert (some["taken"]["answered"], some["taken"]["missing"]) == (9, 3)
        code, whole = run(shop, "--budget", "1", "--forget-batch")
        assert (code, whole["state"], whole["forgotten"]) == (0, "complete", 3)
        assert len(server.bodies) == 3
    rows = labels_of(shop)
    assert {(row["model"], row["label"]) for row in rows} == {("m", "good"), ("m", "bad")}
    assert len(rows) == 12


def test_a_batch_needs_a_server_and_cannot_be_estimated(shop: Path) -> None:
    with (shop / "serendip.toml").open("a") as stream:
        stream.write('[llm]\nprovider = "local"\n')
    with pytest.raises(ConfigError, match="--batch-file needs a server"):
        run(shop, "--budget", "1", "--batch-file", str(shop / "out.jsonl"))
    with pytest.raises(ConfigError, match="--estimate cannot be combined with a batch"):
        run(shop, "--budget", "1", "--estimate", "--forget-batch")


def test_nothing_is_sent_without_a_configured_llm(shop: Path) -> None:
    with pytest.raises(ConfigError, match="no LLM is configured"):
        run(shop, "--budget", "1")
    _, ledger = invoke("llm", "ledger", "-w", str(shop))
    assert ledger == {"jobs": [], "failures": []}


def test_pairs_of_unknown_items_are_refused(shop: Path) -> None:
    configure(shop, "http://127.0.0.1:9/v1")
    write_csv(shop / "pairs.csv", ("query", "item_id"), [("x", "nothing")])
    with pytest.raises(UnknownItemError, match="'nothing'"):
        run(shop, "--budget", "1")
    write_csv(shop / "pairs.csv", ("query", "product"), [("x", "i1")])
    with pytest.raises(DataError, match="no column 'item_id'"):
        run(shop, "--budget", "1")


COLUMNS = ("query", "item_id", "label")


def test_labels_are_exported_as_questions_with_answers(shop: Path) -> None:
    rows = [(HORROR, "i0", "E"), (HORROR, "i1", "I"), (COMEDY, "i1", "good")]
    labels, out = write_csv(shop / "gold.csv", COLUMNS, rows), shop / "chats.jsonl"
    place = ("--labels", str(labels), "--out", str(out), "-w", str(shop))
    code, result = invoke("judge", "export", *place)
    assert (code, result["conversations"]) == (0, 3)
    chats = [json.loads(line)["messages"] for line in out.read_text().splitlines()]
    assert [[message["role"] for message in chat] for chat in chats] == [
        ["system", "user", "assistant"]
    ] * 3
    answers = [json.loads(chat[2]["content"]) for chat in chats]
    assert [answer["label"] for answer in answers] == ["good", "bad", "good"]
    for chat, answer in zip(chats, answers, strict=True):
        data = data_of({"messages": chat})
        assert data["id"] == answer["id"]
        judge_task().read(chat[2]["content"], {"query": data["query"], "item": data["item"]})


def gold_rows(queries: int = 30) -> list[tuple[str, ...]]:
    """Half of six items are irrelevant to every query."""
    return [
        (f"q{query}", f"i{item}", "IESC"[item]) for query in range(queries) for item in range(4)
    ] + [(f"q{query}", f"i{4 + item}", "I") for query in range(queries) for item in range(2)]


def gate(
    folder: Path,
    rows: list[tuple[str, ...]],
    floor: float = 0.6,
    gold: list[tuple[str, ...]] | None = None,
    **more: Any,
) -> Any:
    labels = write_csv(folder / "labels.csv", COLUMNS, rows)
    gold_labels = write_csv(folder / "gold.csv", COLUMNS, gold or gold_rows())
    return gate_labels(Gate(labels, gold_labels, floor, **more))


def test_labels_that_agree_pass_and_others_fail(tmp_path: Path) -> None:
    same = [(query, item, "bad" if label == "I" else "good") for query, item, label in gold_rows()]
    result = gate(tmp_path, same)
    assert (result["verdict"], result["kappa"]) == ("passed", 1.0)
    low, high = result["ci95"]["kappa"]
    assert high == 1.0
    assert 0.9 < low < 1.0  # One more query could disagree.
    assert (result["pairs"], result["queries"], result["unlabelled"]) == (180, 30, 0)
    all_relevant = [(query, item, "good") for query, item, _ in same]
    assert gate(tmp_path, all_relevant)["verdict"] == "failed"


def test_the_lower_end_of_the_interval_decides(tmp_path: Path) -> None:
    """A fifth of the queries has wrong labels: kappa is .6, and its lower end is below that."""
    swap = {"I": "good", "E": "bad", "S": "bad", "C": "bad"}
    keep = {"I": "bad", "E": "good", "S": "good", "C": "good"}
    rows = [
        (query, item, (swap if int(query[1:]) % 5 == 0 else keep)[label])
        for query, item, label in gold_rows()
    ]
    result = gate(tmp_path, rows, 0.55)
    assert result["kappa"] == pytest.approx(0.6)
    assert result["ci95"]["kappa"][0] < 0.55
    assert result["verdict"] == "failed"
    assert gate(tmp_path, rows, result["ci95"]["kappa"][0])["verdict"] == "passed"


def test_no_verdict_on_seen_queries(tmp_path: Path) -> None:
    seen = write_csv(tmp_path / "tuned.csv", ("query", "item_id"), [(" Q7", "other"), ("x", "y")])
    result = gate(tmp_path, gold_rows(), seen=[seen])
    assert (result["verdict"], "kappa" in result) == ("refused", False)
    assert "'q7'" in result["reason"]


def test_no_verdict_on_queries_that_the_prompt_was_tuned_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --seen: the labels name their prompt, and the prompt its tuning queries."""
    monkeypatch.setattr("serendip.llm.prompts._FOLDER", tmp_path)
    (tmp_path / "p-1.md").write_text("# System\nBe just.\n# User\nAsk {data}\n")
    gold = write_csv(tmp_path / "gold.csv", COLUMNS, gold_rows())
    rows = [(*row, "p-1") for row in gold_rows()]
    labels = write_csv(tmp_path / "labels.csv", (*COLUMNS, "prompt"), rows)
    digest = Prompt.named("p-1").digest
    for tuned_on, verdict in (("other", "passed"), ("Q7", "refused")):
        digests = f'["{query_digest(tuned_on)}"]'
        (tmp_path / "p-1.toml").write_text(f'prompt = "{digest}"\ntuned_on = {digests}\n')
        result = gate_labels(Gate(labels, gold, 0.6))
        assert result["verdict"] == verdict
    assert result["reason"] == "p-1 was tuned on 1 of the queries, such as 'q7'"
    (tmp_path / "p-1.toml").unlink()
    with pytest.raises(ConfigError, match="there is no list of the queries on which the prompt"):
        gate_labels(Gate(labels, gold, 0.6))


def test_no_verdict_on_a_few_queries_or_on_one_kind(tmp_path: Path) -> None:
    few = [row for row in gold_rows(9)]
    assert "9 queries have relevant items" in gate(tmp_path, few, gold=few)["reason"]
    one_irrelevant = [(query, item, "E") for query, item, _ in gold_rows()]
    one_irrelevant[0] = (*one_irrelevant[0][:2], "I")
    result = gate(tmp_path, one_irrelevant, gold=one_irrelevant)
    assert (result["verdict"], result["reason"]) == (
        "refused",
        "1 queries have irrelevant items; 10 are needed",
    )


def test_no_verdict_if_gold_pairs_have_no_label(tmp_path: Path) -> None:
    result = gate(tmp_path, gold_rows(26))
    assert (result["verdict"], result["unlabelled"]) == ("refused", 24)
    assert "156 of 180" in result["reason"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q", "i", "fine")], "the label 'fine'"),
        ([("q", "i", "good"), ("q", "i", "bad")], "both relevant and irrelevant"),
    ],
)
def test_damaged_labels_are_refused(
    tmp_path: Path, rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        gate(tmp_path, rows)
    with pytest.raises(ConfigError, match="between -1 and 1"):
        gate(tmp_path, gold_rows(), floor=2.0)


def test_the_gate_sets_the_exit_code(tmp_path: Path) -> None:
    files = [str(write_csv(tmp_path / f"{n}.csv", COLUMNS, gold_rows())) for n in "ab"]
    both = ["judge", "gate", "--labels", files[0], "--gold", files[1]]
    done = CliRunner().invoke(app, [*both, "--nothing-seen"])
    assert (done.exit_code, done.stdout.split(":")[0]) == (0, "passed")
    assert invoke(*both, "--seen", files[0])[0] == 1
    for wrong in ([], ["--nothing-seen", "--seen", files[0]]):
        with pytest.raises(ConfigError, match="either --seen or --nothing-seen is needed"):
            invoke(*both, *wrong)
