"""Batch files: what leaves is counted and not asked again, what comes back is paired or told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import client, completion, judged, serving
from test_asking import PAIRS, PRICES, TASK, options

from serendip.errors import ConfigError, DataError, StorageError
from serendip.llm.batch_api import BatchRead, BatchWritten, read_batch, write_batch
from serendip.llm.ledger import Ledger
from serendip.llm.runner import ask_all, estimate_cost

Line = dict[str, Any]
NOWHERE = "http://127.0.0.1:9/v1"
"""Nothing listens there: what is written to a file is sent to nobody."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "serendip.db")
    yield opened
    opened.close()


def write(path: Path, ledger: Ledger, pairs: Any = PAIRS, **changed: Any) -> BatchWritten:
    with client(NOWHERE) as llm:
        return write_batch(path, TASK, pairs, llm, ledger, options(**changed))


def read(path: Path, ledger: Ledger, pairs: Any = PAIRS, model: str = "m") -> BatchRead:
    return read_batch(path, TASK, pairs, model, ledger, options())


def lines_of(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answered(asked: Line, text: str | None = None, status: int = 200, **error: Any) -> Line:
    """What a server writes to a line of questions."""
    text = judged(asked["body"]) if text is None else text
    body = {"error": error} if error else json.loads(completion(text).body)
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": asked["custom_id"], "response": response, "error": None}


def unanswered(asked: Line, code: str) -> Line:
    error = {"code": code, "message": "told"}
    return {"id": "b", "custom_id": asked["custom_id"], "response": None, "error": error}


def answers_in(path: Path, lines: list[Any]) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def most_of_all() -> float:
    return sum(PRICES.most(TASK.request(pair, 300)) for pair in PAIRS)


def test_questions_leave_as_they_would_be_sent(tmp_path: Path, ledger: Ledger) -> None:
    out = tmp_path / "deep" / "out.jsonl"
    written = write(out, ledger, [*PAIRS, PAIRS[0]])
    assert (written.written, written.left) == (20, 0)
    assert written.most == pytest.approx(most_of_all()) == ledger.spent("j")
    lines = lines_of(out)
    assert {tuple(line) for line in lines} == {("custom_id", "method", "url", "body")}
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert len({line["custom_id"] for line in lines}) == 20
    with serving(lambda body, _: completion(judged(body))) as server, client(server.address) as llm:
        llm.answer(TASK.request(PAIRS[3], 300))
    assert lines[3]["body"] == server.bodies[0]
    assert not list(out.parent.glob("*.part"))


def test_what_is_out_is_not_asked_and_its_answers_are_taken(tmp_path: Path, ledger: Ledger) -> None:
    out = tmp_path / "out.jsonl"
    write(out, ledger, PAIRS[:12])
    with serving(lambda body, _: completion(judged(body))) as server, client(server.address) as llm:
        told = estimate_cost(TASK, PAIRS, "m", ledger, options())
        assert (told.questions, told.known, told.batched) == (20, 0, 12)
        first = ask_all(TASK, PAIRS, llm, ledger, options())
        assert (first.state, first.batched, len(server.bodies)) == ("partial", 12, 8)
        assert first.answers[:12] == [None] * 12
        again = write(tmp_path / "more.jsonl", ledger)
        assert (again.written, again.left, (tmp_path / "more.jsonl").exists()) == (0, 0, False)
        lines = [answered(line) for line in lines_of(out)]
        random.Random(0).shuffle(lines)
        found = read(answers_in(tmp_path / "in.jsonl", lines), ledger)
        assert found == BatchRead(12, 0, 0, 0, 0, 0)
        last = ask_all(TASK, PAIRS, llm, ledger, options(job="another"))
        assert (last.state, last.batched, len(server.bodies)) == ("complete", 0, 8)
    assert last.spent == 0.0
    assert ledger.spent("j") == pytest.approx(20 * 120 / 1e6)  # Bills have replaced bounds.
    assert read(tmp_path / "in.jsonl", ledger) == BatchRead(0, 0, 0, 12, 0, 0)


def test_each_odd_line_is_told_and_harms_no_other(tmp_path: Path, ledger: Ledger) -> None:
    out = tmp_path / "out.jsonl"
    write(out, ledger, PAIRS[:12])
    asked = lines_of(out)
    swapped = [
        answered(asked[0], judged(asked[1]["body"])),
        answered(asked[1], judged(asked[0]["body"])),
    ]
    found = read(
        answers_in(
            tmp_path / "in.jsonl",
            [
                *swapped,
                answered(asked[2]),
                answered(asked[2], judged(asked[2]["body"], "bad")),
                answered(asked[3], "no JSON"),
                answered(asked[4], status=500, code="oops", message="told"),
                answered(asked[5], status=400, code="content_filter", message="told"),
                unanswered(asked[6], "batch_expired"),
                unanswered(asked[7], "odd"),
                {**answered(asked[8]), "custom_id": "f" * 64},
                {"custom_id": asked[9]["custom_id"]},
                {**answered(asked[10]), "response": {"status_code": 200, "body": [1]}},
                "[]",
                '{"custom_id": 7}',
                json.dumps(answered(asked[11]))[:-9],
                "",
            ],
        ),
        ledger,
        PAIRS[:12],
    )
    assert found == BatchRead(answered=1, failed=9, missing=2, repeated=1, unknown=1, broken=3)
    (row,) = ledger.summary()
    assert (row["ok"], row["failed"], row["batched"], row["unfinished"]) == (1, 9, 2, 0)
    failures = {one["failure"]: one["calls"] for one in ledger.failures()}
    assert failures["invalid: id: not that of the data"] == 2
    assert failures["rejected: batch_expired: told"] == 1
    assert failures["server: odd: told"] == 1
    outcome = ask_all(TASK, PAIRS[2:3], Silent(), ledger, options())
    assert [one.label for one in outcome.answers if one] == ["good"]  # The first line counts.


class Silent:
    model = "m"

    def answer(self, request: Any) -> Any:
        raise AssertionError("asked again")


@pytest.mark.parametrize(
    ("line", "price"),
    [
        (answered, 120 / 1e6),
        (lambda asked: answered(asked, "no JSON"), 120 / 1e6),
        (lambda asked: unanswered(asked, "batch_expired"), 0.0),
        (lambda asked: answered(asked, status=429, code="slow", message=""), 0.0),
        (lambda asked: answered(asked, status=500, code="oops", message=""), None),
        (lambda asked: unanswered(asked, "odd"), None),
    ],
)
def test_the_bill_of_a_line_is_that_of_an_answer(
    tmp_path: Path, ledger: Ledger, line: Callable[[Line], Line], price: float | None
) -> None:
    write(tmp_path / "out.jsonl", ledger, PAIRS[:1])
    bound = ledger.spent("j")
    (asked,) = lines_of(tmp_path / "out.jsonl")
    read(answers_in(tmp_path / "in.jsonl", [line(asked)]), ledger)
    assert ledger.spent("j") == pytest.approx(bound if price is None else price)


def test_a_file_is_no_larger_than_the_budget_and_its_limits(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = most_of_all() / 20
    first = write(tmp_path / "a.jsonl", ledger, budget=3.5 * one)
    assert (first.written, first.left) == (3, 17)
    assert ledger.spent("j") <= 3.5 * one
    assert write(tmp_path / "b.jsonl", ledger, budget=3.5 * one).written == 0
    monkeypatch.setattr("serendip.llm.batch_api.MAX_REQUESTS", 5)
    assert write(tmp_path / "b.jsonl", ledger).written == 5
    monkeypatch.setattr(
        "serendip.llm.batch_api.MAX_BYTES", 2 * (tmp_path / "b.jsonl").stat().st_size // 5
    )
    assert write(tmp_path / "c.jsonl", ledger).written in (1, 2)
    sent = [line["custom_id"] for name in "abc" for line in lines_of(tmp_path / f"{name}.jsonl")]
    assert len(set(sent)) == len(sent)
    for budget in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="budget"):
            write(tmp_path / "d.jsonl", ledger, budget=budget)


def test_a_batch_that_is_forgotten_is_asked_anew_and_stays_paid_for(
    tmp_path: Path, ledger: Ledger
) -> None:
    write(tmp_path / "out.jsonl", ledger, PAIRS[:2])
    bound = ledger.spent("j")
    assert (ledger.forget_batches("another"), ledger.forget_batches("j")) == (0, 2)
    assert ledger.spent("j") == bound
    with serving(lambda body, _: completion(judged(body))) as server, client(server.address) as llm:
        outcome = ask_all(TASK, PAIRS[:2], llm, ledger, options())
    assert (outcome.state, len(server.bodies)) == ("complete", 2)
    assert outcome.spent == pytest.approx(bound + 2 * 120 / 1e6)


def test_answers_of_another_model_meet_nothing(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "out.jsonl", ledger, PAIRS[:3])
    lines = [answered(line) for line in lines_of(tmp_path / "out.jsonl")]
    answers = answers_in(tmp_path / "in.jsonl", lines)
    assert read(answers, ledger, model="other") == BatchRead(0, 0, 0, 0, 3, 0)
    assert read(answers, ledger) == BatchRead(3, 0, 0, 0, 0, 0)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path, ledger: Ledger) -> None:
    write(tmp_path / "out.jsonl", ledger, PAIRS[:3])
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        write(tmp_path / "out.jsonl", ledger)
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert ledger.spent("j") < most_of_all()
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.jsonl", ledger)


def test_no_file_has_its_name_before_it_is_counted(tmp_path: Path, ledger: Ledger) -> None:
    out = tmp_path / "out.jsonl"

    class Full(Ledger):
        def batch(self, *_: Any) -> bool:
            assert len((tmp_path / "out.jsonl.part").read_text().splitlines()) == 20
            assert not out.exists()
            return False

    other = Full.open(tmp_path / "other.db")
    with pytest.raises(StorageError, match="another run has spent the budget"):
        write(out, other)
    other.close()
    assert not out.exists()
    assert write(out, ledger, PAIRS[:3]).written == 3  # What was left is written over.
    assert len(lines_of(out)) == 3
    with pytest.raises(ConfigError, match="cannot be written"):
        write(out / "below" / "more.jsonl", ledger)
    assert estimate_cost(TASK, PAIRS, "m", ledger, options()).batched == 3
