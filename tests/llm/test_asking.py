import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from fault_server import Body, Reply, client, completion, data_of, error, judged, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.errors import ConfigError
from serendip.llm.client import LlmAnswer, LlmFailure, LlmRequest, Prices, ScriptedLlm
from serendip.llm.ledger import Call, Ledger
from serendip.llm.runner import NO_BUDGET, Outcome, RunOptions, ask_all, compute_wait, estimate_cost
from serendip.llm.tasks import Judgement, Task, data_key
from serendip.runtime.progress import Shown, SilentProgress

TASK = Task.of(Judgement)
PRICES = Prices(sent=1.0, answered=2.0)
PAIRS = [{"query": f"query {number}", "title": f"Title {number}"} for number in range(20)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "serendip.db")
    yield opened
    opened.close()


def options(**changed: Any) -> RunOptions:
    return RunOptions(**{"job": "j", "prices": PRICES, "first_wait_s": 0.001, **changed})


def good(request: LlmRequest) -> str:
    told = json.loads(request.user.split("<data>")[1].split("</data>")[0])
    return json.dumps({"id": told["id"], "label": "good", "confidence": 1.0})


def against(
    script: Callable[[Body, int], Reply], ledger: Ledger, pairs: list[Any] = PAIRS, **changed: Any
) -> tuple[Outcome[Any], list[Body]]:
    """A run against a server."""
    with serving(script) as server:
        llm = client(server.address, timeout_s=20)
        return ask_all(TASK, pairs, llm, ledger, options(**changed)), server.bodies


def test_what_was_answered_is_not_asked_again(ledger: Ledger) -> None:
    asked: list[LlmRequest] = []

    def script(request: LlmRequest) -> str:
        asked.append(request)
        return good(request)

    llm = ScriptedLlm(script)
    first = ask_all(TASK, [*PAIRS[:5], PAIRS[0]], llm, ledger, options())
    assert (first.state, first.failures, first.reason) == ("complete", {}, "")
    assert [one.label for one in first.answers if one] == ["good"] * 6
    assert len(asked) == 5  # The same pair twice is one question.
    before = estimate_cost(TASK, PAIRS, llm.model, ledger, options())
    assert (before.questions, before.known) == (20, 5)
    again = ask_all(TASK, PAIRS, llm, ledger, options(job="another"))
    assert (again.state, len(asked)) == ("complete", 20)
    other = ScriptedLlm(script, "other")
    assert ask_all(TASK, PAIRS[:1], other, ledger, options()).state == "complete"
    assert len(asked) == 21  # Another model's answer is another answer.
    assert [row["ok"] for row in ledger.summary()] == [5, 15, 1]


def test_two_runs_at_once_stay_within_one_budget(tmp_path: Path) -> None:
    bill = 120 / 1e6
    budget = 12 * bill + PRICES.most(TASK.request(PAIRS[0], 300))
    with serving(lambda body, _: completion(judged(body))) as server, ThreadPoolExecutor(2) as pool:

        def run(pairs: list[Any]) -> Outcome[Any]:
            own = Ledger.open(tmp_path / "serendip.db")
            with own as ledger:
                llm = client(server.address, timeout_s=20)
                return ask_all(TASK, pairs, llm, ledger, options(budget=budget, concurrency=2))

        outcomes = list(pool.map(run, (PAIRS[:10], PAIRS[10:])))
    with Ledger.open(tmp_path / "serendip.db") as ledger:
        assert ledger.spent("j") <= budget
        (row,) = ledger.summary()
    answered = sum(one is not None for outcome in outcomes for one in outcome.answers)
    assert answered == row["ok"] >= 8
    assert {outcome.reason for outcome in outcomes} <= {"", NO_BUDGET}


def test_an_answer_that_is_not_valid_any_more_is_asked_for_again(ledger: Ledger) -> None:
    llm = ScriptedLlm(good)
    call = Call("j", TASK.prompt.name, TASK.prompt.digest, llm.model, data_key(PAIRS[0]))
    assert ledger.send(call, 0.1, 1.0) == 1
    ledger.finish(1, '{"label": "of an old schema"}', 0.1, (1, 1, 0.0))
    assert ask_all(TASK, PAIRS[:1], llm, ledger, options()).state == "complete"
    assert [row["ok"] for row in ledger.summary()] == [2]


def test_failures_that_pass_are_waited_out(ledger: Ledger) -> None:
    faults = [
        error(429, "rate_limit_exceeded", ("Retry-After", "0.001")),
        error(503, "overloaded"),
        Reply(b"x" * 100, sent=5),
    ]
    seen: Counter[str] = Counter()

    def script(body: Body, number: int) -> Reply:
        place = seen[data_of(body)["id"]]
        seen[data_of(body)["id"]] += 1
        return faults[place] if place < 3 else completion(judged(body))

    outcome, bodies = against(script, ledger, PAIRS[:4])
    assert (outcome.state, len(bodies)) == ("complete", 16)
    (row,) = ledger.summary()
    assert (row["calls"], row["ok"], row["failed"], row["unfinished"]) == (16, 4, 12, 0)
    kinds = {row["failure"].split(":")[0]: row["calls"] for row in ledger.failures()}
    assert kinds == {"rate": 4, "server": 4, "connection": 4}


def test_an_answer_that_does_not_fit_is_mended_once(ledger: Ledger) -> None:
    def script(body: Body, number: int) -> Reply:
        is_told = len(body["messages"]) == 4
        return completion(judged(body) if is_told else judged(body, label="fine"))

    outcome, bodies = against(script, ledger, PAIRS[:2])
    assert (outcome.state, len(bodies)) == ("complete", 4)
    repaired = [body for body in bodies if len(body["messages"]) == 4]
    assert all("label" in body["messages"][3]["content"] for body in repaired)
    never, bodies = against(lambda body, _: completion("no"), ledger, PAIRS[2:4])
    assert (never.state, never.answers, len(bodies)) == ("partial", [None, None], 4)
    assert all(text.startswith("invalid") for text in never.failures.values())


def test_answers_about_something_else_are_never_taken(ledger: Ledger) -> None:
    """A server that mixes up whom it answers: each gets what belongs to the one before."""
    last = [judged({"messages": [{}, {"content": '<data>{"id": "nobody"}</data>'}]})]

    def script(body: Body, number: int) -> Reply:
        last.append(judged(body, label="bad"))
        return completion(last[-2])

    outcome, _ = against(script, ledger, PAIRS[:6], concurrency=1)
    # Told that it is wrong, it sends its last answer again, which is the right one by then.
    assert outcome.state == "complete"
    assert {row["failure"] for row in ledger.failures()} == {"invalid: id: not that of the data"}


def test_what_a_server_rejects_is_a_row_of_that_question_alone(ledger: Ledger) -> None:
    def script(body: Body, number: int) -> Reply:
        is_first = data_of(body)["query"] == "query 0"
        return error(400, "content_filter") if is_first else completion(judged(body))

    outcome, bodies = against(script, ledger)
    assert (outcome.state, len(outcome.failures), len(bodies)) == ("partial", 1, 20)
    assert sum(one is not None for one in outcome.answers) == 19
    every, bodies = against(lambda body, _: error(400, "bad"), ledger, job="k", concurrency=1)
    assert (every.state, len(bodies)) == ("partial", 1)  # The others are known by now.
    fresh = [{"query": f"another {number}", "title": "x"} for number in range(30)]
    every, bodies = against(lambda body, _: error(400, "bad"), ledger, fresh, concurrency=1)
    assert (len(bodies), "rejected" in every.reason) == (10, True)


@pytest.mark.parametrize("reply", [error(429, "insufficient_quota"), error(401, "invalid_api_key")])
def test_a_used_up_quota_or_a_wrong_key_end_the_run(ledger: Ledger, reply: Reply) -> None:
    def script(body: Body, number: int) -> Reply:
        return completion(judged(body)) if number < 3 else reply

    outcome, bodies = against(script, ledger, concurrency=1)
    assert (outcome.state, len(bodies)) == ("partial", 4)
    assert "told" in outcome.reason
    assert sum(one is not None for one in outcome.answers) == 3
    again, bodies = against(lambda body, _: completion(judged(body)), ledger)
    assert (again.state, len(bodies)) == ("complete", 17)


def test_waits_are_those_of_the_server_and_end_after_some_attempts(ledger: Ledger) -> None:
    outcome, bodies = against(lambda body, _: error(500, "oops"), ledger, PAIRS[:2], attempts=3)
    assert (outcome.state, len(bodies)) == ("partial", 6)
    assert set(outcome.failures.values()) == {"server: Error code: 500 - told: oops"}

    asked, silent = (LlmFailure("rate", "told", wait) for wait in (7.0, None))
    assert compute_wait(asked, 2, first=0.5) == 7.0
    assert [compute_wait(silent, attempt, first=0.5) for attempt in range(3)] == [0.5, 1.0, 2.0]
    assert compute_wait(LlmFailure("rate", "told", 600.0), 0, first=0.5) == 60.0
    for budget in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="budget"):
            ask_all(TASK, PAIRS, ScriptedLlm(good), ledger, options(budget=budget))


@settings(deadline=None, max_examples=20)
@given(
    budget=st.floats(0, 0.02),
    fails=st.lists(st.sampled_from(["", "timeout", "rate", "invalid", "server"]), max_size=12),
    counted=st.booleans(),
)
def test_spend_never_passes_the_budget(budget: float, fails: list[str], counted: bool) -> None:
    place = [0]

    class Unsure:
        model = "unsure"

        async def answer(self, request: LlmRequest) -> LlmAnswer:
            place[0] += 1
            kind: Any = fails[place[0] % len(fails)] if fails else ""
            text = good(request)
            if kind:
                raise LlmFailure(kind, "told")
            return LlmAnswer(text, 300 if counted else None, 40 if counted else None)

        async def close(self) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.open(Path(folder) / "calls.db")
        outcome = ask_all(TASK, PAIRS, Unsure(), ledger, options(budget=budget, first_wait_s=0))
        assert outcome.spent <= budget
        assert outcome.spent == ledger.spent("j")
        if outcome.reason:
            assert outcome.reason == NO_BUDGET
            assert outcome.state == "partial"
        ledger.close()


@pytest.mark.parametrize(
    "reply",
    [
        completion("{}", usage=None),
        completion("{}", usage=(10**8, 10)),
        error(500, "oops"),
        Reply(b"x" * 100, sent=5),
    ],
)
def test_where_nobody_knows_the_bill_the_bound_stays(ledger: Ledger, reply: Reply) -> None:
    request = TASK.request(PAIRS[0], 300)
    outcome, bodies = against(lambda body, _: reply, ledger, PAIRS[:1], attempts=1)
    assert len(bodies) == 1
    assert outcome.spent == pytest.approx(PRICES.most(request))
    assert PRICES.most(request) > (len(request.user) + 300 * 2) / 1e6


def test_what_is_under_way_does_not_end_a_run_that_can_be_paid_for(ledger: Ledger) -> None:
    """Bounds of 16 at once are above the budget, and all 20 bills together are not."""
    most = PRICES.most(TASK.request(PAIRS[0], 300))
    bills = 20 * 120 / 1e6
    outcome, bodies = against(
        lambda body, _: completion(judged(body)),
        ledger,
        budget=bills + 1.5 * most,
        concurrency=16,
    )
    assert (outcome.state, outcome.reason, len(bodies)) == ("complete", "", 20)


def test_a_429_lets_all_threads_wait(ledger: Ledger) -> None:
    """Three questions are under way when the fourth is told to wait: nothing follows them."""
    pause, arrived, told = 0.5, dict[int, float](), list[float]()
    barrier = threading.Barrier(4)

    def script(body: Body, number: int) -> Reply:
        arrived[number] = time.monotonic()
        if number < 4:
            barrier.wait(20)
        if number == 0:
            told.append(time.monotonic())
            return error(429, "rate_limit_exceeded", ("Retry-After", str(pause)))
        while number < 4 and not any(row["failed"] for row in ledger.summary()):
            threading.Event().wait(0.01)  # Answered when the client knows of the 429.
        return completion(judged(body))

    outcome, bodies = against(script, ledger, concurrency=4)
    assert (outcome.state, len(bodies)) == ("complete", 21)
    assert min(arrived[number] for number in range(4, 21)) - told[0] >= pause


def test_an_interrupt_lets_nothing_further_be_sent(ledger: Ledger) -> None:
    class Impatient(SilentProgress):
        def show(self, *_: Any) -> Shown:
            def interrupt() -> None:
                raise KeyboardInterrupt

            return nullcontext(interrupt)

    asked: list[LlmRequest] = []

    def script(request: LlmRequest) -> str:
        asked.append(request)
        return good(request)

    many = [{"query": f"query {number}", "title": "x"} for number in range(300)]
    with pytest.raises(KeyboardInterrupt):
        run = options(concurrency=1, progress=Impatient())
        ask_all(TASK, many, ScriptedLlm(script), ledger, run)
    assert len(asked) < 50


RUN = """
import sys
from serendip.llm.openai import EndpointLlm
from serendip.llm.tasks import Judgement, Task
from serendip.llm.ledger import Ledger
from serendip.llm.runner import RunOptions, ask_all
from serendip.llm.client import LlmConfig
pairs = [{"query": f"query {n}", "title": f"Title {n}"} for n in range(20)]
config = LlmConfig(provider="endpoint", base_url=sys.argv[1], model="m")
ledger = Ledger.open(sys.argv[2])
ask_all(Task.of(Judgement), pairs, EndpointLlm(config), ledger, RunOptions("j", concurrency=2))
"""


def test_after_a_kill_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    """Killed while its ninth and tenth question hang; what is unfinished stays counted."""
    path = tmp_path / "serendip.db"
    hanging = threading.Semaphore(0)

    def script(body: Body, number: int) -> Reply:
        if number < 8:
            return completion(judged(body))
        hanging.release()
        return Reply(hangs=True)

    with serving(script) as server:
        process = subprocess.Popen([sys.executable, "-c", RUN, server.address, str(path)])
        for _ in range(2):
            assert hanging.acquire(timeout=60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    ledger = Ledger.open(path)
    (row,) = ledger.summary()
    assert (row["ok"], row["unfinished"]) == (8, 2)
    with serving(lambda body, _: completion(judged(body))) as server:
        outcome = ask_all(TASK, PAIRS, client(server.address), ledger, options())
        assert (outcome.state, len(server.bodies)) == ("complete", 12)
    ledger.close()
