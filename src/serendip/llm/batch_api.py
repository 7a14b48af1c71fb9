"""Batch API files: write the open questions to a request file, read the answers from its output.

Uploading the file is left to the user. Every question in a file has a row in the ledger with its
maximum price, from before the file appears until its answer is read, so that it is not sent again
meanwhile. A question and its answer are matched by ``custom_id``, which differs between prompts and
models; the answer must also repeat the id of the data, as in any other call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serendip.errors import ConfigError, DataError, StorageError
from serendip.llm.client import LlmAnswer, LlmFailure, LlmRequest
from serendip.llm.ledger import Call, Ending, Ledger
from serendip.llm.openai import EndpointLlm, answer_of, failure_of
from serendip.llm.runner import QuestionStates, RunOptions
from serendip.llm.tasks import AnswerT, Task, WrongAnswer
from serendip.runtime.atomic_files import flush_folder, write_synced

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""What one file of the batch API may have."""

_ADDRESS = "/v1/chat/completions"
_NOT_COMPUTED = ("batch_expired", "batch_cancelled")


@dataclass(frozen=True, slots=True)
class BatchWritten:
    """What left.

    Args:
        written: questions in the file; 0 = there is no file.
        left: questions that had no room in it or in the budget.
        most: that the file can cost.
    """

    written: int
    left: int
    most: float


@dataclass(frozen=True, slots=True)
class BatchRead:
    """What came back.

    Args:
        answered: questions with an answer that can be used.
        failed: with one that cannot, or with an error.
        missing: that left in a file and are not in this one.
        repeated: of questions that are not waited for: answered before, forgotten, twice in it.
        unknown: of no question of this run.
        broken: lines that are none.
    """

    answered: int
    failed: int
    missing: int
    repeated: int
    unknown: int
    broken: int


def write_batch(
    path: Path,
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    llm: EndpointLlm,
    ledger: Ledger,
    options: RunOptions,
) -> BatchWritten:
    """Write everything that is neither answered nor out, as far as file and budget have room.

    The file has its name only when its rows are in the ledger: what is called ``<name>.part`` is
    never to be handed in. Killed between the two, questions wait for a file that nobody has, until
    they are forgotten.

    Raises:
        ConfigError: the file is there already, or its place cannot be written to.
        StorageError: the ledger takes no rows.
    """
    if path.exists():
        raise ConfigError(
            f"{path} is there already.", "It may have been handed in: name another file."
        )
    pending = QuestionStates.of(task, questions, llm.model, ledger, options.job)
    part = path.with_name(f"{path.name}.part")
    lines, prices = _chosen(task, pending, llm, options, ledger.spent(options.job))
    if lines:
        _write(part, "".join(lines))
        if not ledger.batch(pending.call, prices, options.budget):
            raise StorageError("the budget went elsewhere meanwhile.", "Run it again.")
        part.replace(path)
        flush_folder(path.parent)
    return BatchWritten(len(lines), len(pending.left) - len(lines), sum(prices.values()))


def read_batch(
    path: Path,
    task: Task[AnswerT],
    questions: Sequence[Mapping[str, Any]],
    model: str,
    ledger: Ledger,
    options: RunOptions,
) -> BatchRead:
    """Take the answers of a file into the ledger, all or none.

    Raises:
        DataError: the file is missing, or no text.
        StorageError: the ledger takes no rows.
    """
    pending = QuestionStates.of(task, questions, model, ledger, options.job)
    known = {_custom_id(pending.call, name) for name in pending.answers}
    known |= {_custom_id(pending.call, name) for name in pending.left}
    waiting = {_custom_id(pending.call, name): name for name in pending.waiting}
    endings: list[Ending] = []
    counts = {"repeated": 0, "unknown": 0, "broken": 0}
    for told in _told(path):
        if told is None:
            counts["broken"] += 1
            continue
        name = waiting.pop(told.custom_id, None)
        if name is None:
            counts["repeated" if told.custom_id in known else "unknown"] += 1
            continue
        known.add(told.custom_id)
        request = task.request(pending.waiting[name], options.max_tokens)
        ending = _ending(told, request, task, pending, name, options)
        endings.append(ending)
    ledger.finish(*endings)
    failed = sum(bool(one.failure) for one in endings)
    return BatchRead(len(endings) - failed, failed, len(waiting), **counts)


def _chosen(
    task: Task[AnswerT],
    pending: QuestionStates[AnswerT],
    llm: EndpointLlm,
    options: RunOptions,
    spent: float,
) -> tuple[list[str], dict[str, float]]:
    """Lines, and data -> the most that each can cost, in order, until file or budget are full."""
    lines, prices = list[str](), dict[str, float]()
    size, total = 0, spent
    for name, data in pending.left.items():
        request = task.request(data, options.max_tokens)
        most, line = options.prices.most(request), _line(pending.call, name, llm.body(request))
        size, total = size + len(line), total + most
        if total > options.budget or size > MOST_BYTES or len(lines) == MOST_REQUESTS:
            break
        lines.append(line)
        prices[name] = most
    return lines, prices


def _custom_id(call: Call, data: str) -> str:
    """64 letters, as long as servers take them."""
    return hashlib.sha256(f"{call.prompt_digest}\0{call.model}\0{data}".encode()).hexdigest()


def _line(call: Call, data: str, body: Mapping[str, Any]) -> str:
    """One request; ASCII, so that letters are bytes."""
    name = _custom_id(call, data)
    told = {"custom_id": name, "method": "POST", "url": _ADDRESS, "body": body}
    return json.dumps(told) + "\n"


def _write(part: Path, text: str) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        write_synced(part, text)
    except OSError as error:
        raise ConfigError(f"{part} cannot be written: {error}.", "Name another place.") from None


def _told(path: Path) -> Iterator[SimpleNamespace | None]:
    """Per line what it says, with names as attributes; None = nothing that has a ``custom_id``."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line in filter(str.strip, stream):
                yield _parsed(line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Name the output file.") from None


def _parsed(line: str) -> SimpleNamespace | None:
    try:
        found = json.loads(line, object_hook=lambda fields: SimpleNamespace(**fields))
    except (ValueError, RecursionError):
        return None
    is_told = isinstance(found, SimpleNamespace) and isinstance(
        getattr(found, "custom_id", None), str
    )
    return found if is_told else None


def _ending(
    told: SimpleNamespace,
    request: LlmRequest,
    task: Task[AnswerT],
    pending: QuestionStates[AnswerT],
    name: str,
    options: RunOptions,
) -> Ending:
    """How the call ended that a line answers."""
    number, most = pending.batched[name]
    said: LlmAnswer | None = None
    failure: LlmFailure | None = None
    text = ""
    try:
        said = _answer(told, request)
        text = task.read(said.text, pending.waiting[name]).model_dump_json()
    except WrongAnswer as error:
        failure = LlmFailure("invalid", str(error), answer=said)
    except LlmFailure as error:
        failure, said = error, error.answer
    bill = options.prices.bill(said, failure, most)
    return Ending(number, text, None, bill, str(failure or ""))


def _answer(told: SimpleNamespace, request: LlmRequest) -> LlmAnswer:
    """The answer of a line.

    Raises:
        LlmFailure: there is none.
    """
    response, error = getattr(told, "response", None), getattr(told, "error", None)
    status = getattr(response, "status_code", None)
    if status == 200:
        return answer_of(getattr(response, "body", None), request)
    inner = getattr(getattr(response, "body", None), "error", None) or error
    code, message = (getattr(inner, name, None) for name in ("code", "message"))
    words = f"{code}: {message}"
    if isinstance(status, int) and status >= 300:
        raise failure_of(status, (code, getattr(inner, "type", None)), words)
    raise LlmFailure("rejected" if code in _NOT_COMPUTED else "server", words)
