"""Data-parallel training of the retriever: several processes, each with a part of a batch. Torch.

The process of the training draws batches and candidates, validates and keeps checkpoints, as it
does alone. At each step it sends the batch to its helpers. Every process computes the gradients of
its rows of the batch, among the same candidates; the gradients are added up, and every process
makes the same step of the optimiser. So a step is that of one process, up to the order of sums and
to which numbers dropout draws. At the beginning of an epoch helpers get the parameters and moments
of the training, also those of a checkpoint, and dropout begins anew by seed, epoch and number of
the process; so a training that is resumed goes on as if it had not been interrupted.

Processes talk by gloo, the backend of torch.distributed for CPUs, and are started by the executor.

Shapes: B rows, R rows of the ID table that a step reads, E row size, C candidates, P parameters.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.dataset import QueryExamples
from serendip.data.items.features import ItemFeatures, Tokens
from serendip.data.rows.packed_rows import PackedRows
from serendip.data.rows.strings import Strings, open_arrays, save_arrays
from serendip.errors import SerendipError
from serendip.models.retriever.batches import TrainingBatch
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.loss import LossCandidates, RetrieverNetwork
from serendip.models.row_adam import RowAdamW
from serendip.runtime.atomic_files import write_json
from serendip.runtime.progress import TrainOptions
from serendip.runtime.scratch import scratch_folder
from serendip.runtime.threads import num_threads

_distributed: Any = torch.distributed  # whose types leave out what is used here

_START_S, _CONNECT_S, _STEP_S = 600.0, 60.0, 1_800.0
"""Seconds that processes wait for one another: that a helper starts, which may need a free core;
that all connect once they have started; and between two steps, while the first one validates."""

_INTERFACE = "GLOO_SOCKET_IFNAME"
"""Variable that names the interface on which gloo listens."""
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"

_EPOCH, _STEP, _END = 1, 2, 3
"""What comes next."""

_COLUMNS = ("items", "liked", "gaps", "places", "prefix", "task", "source", "query", "target")
_HEAD = 7
"""Numbers before what is sent: what it is, then the number of the epoch; or B, T, M, C, and whether
weights and countries come."""

_FAILURE = "failure-{}.json"
"""File of a helper's own error, by its number."""


class ProcessLoss(Exception):
    """Another process of the training does not answer; ``open_steps`` and ``help_train`` see it."""


@dataclass(frozen=True, slots=True)
class HelperTask:
    """What a helper is told.

    Args:
        folder: has the features of the items, and the file by which processes find one another.
        config: of the retriever.
        number: of the process, from 1 on.
        count: number of processes, that of the training included.
        seed: of the training.
        is_local: whether all processes are on this machine, and listen on the loopback interface.
    """

    folder: str
    config: RetrieverConfig
    number: int
    count: int
    seed: int
    is_local: bool

    def __str__(self) -> str:
        return f"helper {self.number} of the retriever's training"


class Steps(Protocol):
    """How the steps of a training are made."""

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW, epoch: int) -> None:
        """An epoch begins, of this number."""
        ...

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Compute the gradients of a batch."""
        ...


class OneProcess:
    """Steps of a training without helpers."""

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW, epoch: int) -> None:
        """Nothing to do."""

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Compute the gradients of the whole batch."""
        module.loss(batch, candidates).backward()  # type: ignore[no-untyped-call]


class ProcessGroup:
    """Processes that train together; this is one of them.

    Args:
        folder: has the file by which they find one another.
        number: of this process, 0 = that of the training.
        count: number of processes.
        connect_s: seconds to wait for the others.

    Raises:
        ProcessLoss: of all methods, too: another process does not answer.
    """

    def __init__(self, folder: Path, number: int, count: int, connect_s: float) -> None:
        self.number, self.count = number, count
        limit = timedelta(seconds=connect_s)
        with _losses():
            store = _distributed.FileStore(str(folder / "processes"), count)
            store.set_timeout(limit)
            self._group = _distributed.ProcessGroupGloo(store, number, count, limit)

    def close(self) -> None:
        """Close the connections: those who wait for this process see it."""
        del self._group

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The values of the first process, in place."""
        with _losses():
            self._group.broadcast([tensor], _patient(_distributed.BroadcastOptions())).wait()
        return tensor

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sums over all processes, in place."""
        with _losses():
            self._group.allreduce([tensor], _patient(_distributed.AllreduceOptions())).wait()
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, which may have different lengths."""
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.number] = len(tensor)
        longest = int(self.add_up(lengths).max())
        padded = torch.zeros((longest, *tensor.shape[1:]), dtype=tensor.dtype)
        padded[: len(tensor)] = tensor
        found = [torch.zeros_like(padded) for _ in range(self.count)]
        with _losses():  # all have come as far as the lengths, so nobody is waited for long
            self._group.allgather([found], [padded]).wait()
        return [part[:length] for part, length in zip(found, lengths.tolist(), strict=True)]


@contextmanager
def _losses() -> Iterator[None]:
    """Raise errors of gloo as losses; other parts of a training raise ``RuntimeError``, too."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLoss(str(error)) from error


def _patient(options: Any) -> Any:
    """Options of an exchange that waits for the slowest process."""
    options.timeout = timedelta(seconds=_STEP_S)
    return options


@contextmanager
def _on_loopback(is_local: bool) -> Iterator[None]:
    """Let gloo listen on the loopback interface; else on that of its variable, or of the host."""
    before = os.environ.get(_INTERFACE)
    if is_local:
        os.environ[_INTERFACE] = _LOOPBACK
    try:
        yield
    finally:
        if is_local:
            del os.environ[_INTERFACE]
        if before is not None:
            os.environ[_INTERFACE] = before


class ManyProcesses:
    """Steps of a training with helpers, in the process of the training."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group

    def begin(self, module: RetrieverNetwork, optimiser: RowAdamW, epoch: int) -> None:
        """Send parameters and moments."""
        self._group.broadcast(_head(_EPOCH, epoch))
        _share_state(self._group, optimiser)

    def end(self) -> None:
        """Let the helpers end."""
        self._group.broadcast(_head(_END))

    def add_gradients(
        self,
        module: RetrieverNetwork,
        optimiser: RowAdamW,
        batch: TrainingBatch,
        candidates: LossCandidates,
    ) -> None:
        """Send the batch, and compute its gradients together."""
        rates = [group["lr"] for group in optimiser.param_groups]
        head, numbers, values = _pack(batch, candidates, rates)
        for part in (head, numbers, values):
            self._group.broadcast(part)
        _add_gradients(self._group, module, optimiser, batch, candidates)


@contextmanager
def open_steps(
    features: ItemFeatures,
    queries: QueryExamples | None,
    module: RetrieverNetwork,
    config: RetrieverConfig,
    num_countries: int,
    options: TrainOptions,
) -> Iterator[Steps]:
    """Start the helpers of a training, as many as the options say; they end with the block.

    Args:
        features: of the items.
        queries: of the search task.
        module: the network.
        config: of the retriever.
        num_countries: countries of users.
        options: seed, executor, its shared folder and the number of processes.

    Raises:
        ConfigError: the executor has too few workers.
        SerendipError: a process was killed, failed, or did not start in time.
    """
    options.require_workers()
    count, executor, shared = options.train_processes, options.executor, options.shared
    if count == 1 or shared is None:
        yield OneProcess()
        return
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(shared))
        save_arrays(folder / "items", _to_arrays(features, queries, module, num_countries))
        for number in range(1, count):
            task = HelperTask(str(folder), config, number, count, options.seed, executor.is_local)
            next(stack.enter_context(executor.stream(help_train, task, _START_S)))
        try:
            with _on_loopback(executor.is_local):
                group = ProcessGroup(folder, 0, count, _CONNECT_S)
            steps = ManyProcesses(stack.enter_context(closing(group)))
            yield steps
            steps.end()
        except ProcessLoss as error:
            raise _explain(folder, count, error) from error


def _explain(folder: Path, count: int, loss: ProcessLoss) -> SerendipError:
    """The error of a helper that failed, or that a process was lost."""
    for number in range(1, count):
        path = folder / _FAILURE.format(number)
        if path.is_file():
            told = json.loads(path.read_text(encoding="utf-8"))
            found = SerendipError(told["message"])
            found.add_note(told["trace"])
            return found
    return SerendipError(
        f"the processes that train the retriever lost one another: {loss}.",
        "One was probably killed: free some memory and run the command again.",
    )


@contextmanager
def note_failure(task: HelperTask) -> Iterator[None]:
    """Write the error of a helper into the folder, before its connections are closed."""
    try:
        yield
    except ProcessLoss:
        raise
    except Exception as error:
        message = f"{task} failed: {type(error).__name__}: {error}"
        document = {"message": message, "trace": traceback.format_exc()}
        write_json(Path(task.folder) / _FAILURE.format(task.number), document)
        raise


def help_train(task: HelperTask) -> Generator[bool]:
    """Make the steps of a training beside it until it ends; yields once, when it is ready."""
    folder = Path(task.folder)
    torch.set_num_threads(num_threads())
    module, optimiser = _open_module(folder / "items", task.config)
    yield True
    if task.is_local:  # of this process, which does nothing else
        os.environ[_INTERFACE] = _LOOPBACK
    # The others may have to wait for a free core, one after the other.
    group = ProcessGroup(folder, task.number, task.count, task.count * _START_S)
    with note_failure(task):
        _make_steps(group, module, optimiser, task.seed)


def _make_steps(
    group: ProcessGroup, module: RetrieverNetwork, optimiser: RowAdamW, seed: int
) -> None:
    """Make the steps of a training until it says that it ends."""
    head = torch.zeros(_HEAD, dtype=torch.int64)
    while (kind := int(group.broadcast(head)[0])) != _END:
        if kind == _EPOCH:
            torch.manual_seed(seed_dropout(seed, int(head[1]), group.number))
            optimiser.flush()
            _share_state(group, optimiser)
            module.train()
            continue
        batch, candidates, rates = _receive(group, head)
        for part, rate in zip(optimiser.param_groups, rates, strict=True):
            part["lr"] = rate
        optimiser.zero_grad()
        _add_gradients(group, module, optimiser, batch, candidates)
        optimiser.clip_gradients(MOST_GRADIENT)
        optimiser.step()


def seed_dropout(seed: int, epoch: int, number: int) -> int:
    """Seed of what a helper draws in an epoch; that of the training keeps its random state."""
    return int(np.random.SeedSequence([seed, epoch, number]).generate_state(1)[0])


MOST_GRADIENT = 1.0
"""Gradient norm clip."""


def build_optimiser(module: RetrieverNetwork, config: RetrieverConfig) -> RowAdamW:
    """AdamW with a learning rate of its own for ID embeddings, whose rows it reads."""
    tower = module.tower
    optimiser = RowAdamW(
        tower.ids,
        config.id_learning_rate,
        (parameter for parameter in module.parameters() if parameter is not tower.ids),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=config.reg,
    )
    tower.read_ids = optimiser.read
    return optimiser


def _add_gradients(
    group: ProcessGroup,
    module: RetrieverNetwork,
    optimiser: RowAdamW,
    batch: TrainingBatch,
    candidates: LossCandidates,
) -> None:
    """Gradients of the whole batch, of which this process computes those of its rows."""
    part = _take_rows(batch, slice(group.number, None, group.count))
    share = _weight_of(part) / _weight_of(batch)
    if share:
        loss = share * module.loss(part, candidates)
        loss.backward()  # type: ignore[no-untyped-call]
    _add_others(group, optimiser.others)
    _add_rows(group, optimiser)


def _add_others(group: ProcessGroup, others: Sequence[torch.nn.Parameter]) -> None:
    """Add up the gradients of all parameters but the table; none where no process has one."""
    has_one = torch.tensor([float(parameter.grad is not None) for parameter in others])  # (P,)
    parts = [
        torch.zeros(parameter.numel()) if parameter.grad is None else parameter.grad.flatten()
        for parameter in others
    ]
    flat = group.add_up(torch.cat([has_one, *parts]))
    sums = torch.split(flat[len(others) :], [parameter.numel() for parameter in others])
    for parameter, found, values in zip(others, flat[: len(others)], sums, strict=True):
        parameter.grad = values.view_as(parameter).clone() if found else None


def _add_rows(group: ProcessGroup, optimiser: RowAdamW) -> None:
    """Add up the gradients of the rows (R, E) of the table that any process has read."""
    rows, size = optimiser.rows, optimiser.table.shape[1] if optimiser.table.dim() > 1 else 0
    gradient = None if rows is None else rows.values.grad
    if rows is None or gradient is None:
        numbers, gradient = torch.zeros(0, dtype=torch.int64), torch.zeros((0, size))
    else:
        numbers = rows.numbers
    gathered, gradients = group.gather(numbers), group.gather(gradient)
    union, places = torch.unique(torch.cat(gathered), return_inverse=True)  # (R,)
    if not len(union):
        optimiser.rows = None
        return
    values = optimiser.read(union)
    values.grad = torch.zeros_like(values).index_add_(0, places, torch.cat(gradients))


def _weight_of(batch: TrainingBatch) -> float:
    """Sum of the weights of all requests."""
    has_target = batch.target >= 0  # (B, M)
    if batch.weight is None:
        return float(has_target.sum())
    return float(batch.weight[has_target].sum(dtype=np.float64))


def _take_rows(batch: TrainingBatch, rows: slice) -> TrainingBatch:
    """Some rows of a batch."""
    columns = {name: getattr(batch, name) for name in (*_COLUMNS, "weight", "country")}
    parts: dict[str, Any] = {
        name: np.ascontiguousarray(values[rows])
        for name, values in columns.items()
        if values is not None
    }
    return replace(batch, **parts)


def _head(kind: int, *sizes: int) -> Tensor:
    head = torch.zeros(_HEAD, dtype=torch.int64)
    head[: 1 + len(sizes)] = torch.tensor([kind, *sizes])
    return head


def _pack(
    batch: TrainingBatch, candidates: LossCandidates, rates: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """A step as three tensors: its sizes, whole numbers, and others in double precision."""
    (rows, steps), requests = batch.items.shape, batch.target.shape[1]
    has = [int(batch.weight is not None), int(batch.country is not None)]
    head = _head(_STEP, rows, steps, requests, len(candidates.items), *has)
    columns: list[NDArray[Any]] = [getattr(batch, name) for name in _COLUMNS]
    columns += [] if batch.country is None else [batch.country]
    flat = [torch.from_numpy(np.ascontiguousarray(column)).flatten() for column in columns]
    numbers = torch.cat([*flat, candidates.items])
    values = [torch.tensor(rates, dtype=torch.float64), candidates.correction.double()]
    if batch.weight is not None:
        values.append(torch.from_numpy(np.ascontiguousarray(batch.weight)).flatten().double())
    return head, numbers, torch.cat(values)


def _receive(
    group: ProcessGroup, head: Tensor
) -> tuple[TrainingBatch, LossCandidates, list[float]]:
    """The step that ``_pack`` packed, with the learning rates of the optimiser."""
    rows, steps, requests, size, has_weight, has_country = head[1:].tolist()
    history, asked = rows * steps, rows * requests
    sizes = [history] * 4 + [asked] * (5 + has_country) + [size]
    numbers = group.broadcast(torch.zeros(sum(sizes), dtype=torch.int64))
    values = group.broadcast(torch.zeros(2 + size + has_weight * asked, dtype=torch.float64))
    *columns, items = torch.split(numbers, sizes)
    widths = [steps] * 4 + [requests] * (5 + has_country)
    shaped = [
        column.view(rows, width).numpy() for column, width in zip(columns, widths, strict=True)
    ]
    found: dict[str, Any] = dict(zip((*_COLUMNS, "country"), shaped, strict=False))
    if has_weight:
        found["weight"] = values[2 + size :].float().view(rows, requests).numpy()
    batch = TrainingBatch(**found)
    correction = values[2 : 2 + size].float()
    return batch, LossCandidates(items, correction), values[:2].tolist()


@torch.no_grad()
def _share_state(group: ProcessGroup, optimiser: RowAdamW) -> None:
    """Parameters and moments of the training, in all processes; its optimiser is flushed."""
    for parameter in (*optimiser.others, optimiser.table):
        group.broadcast(parameter.data)
        state = optimiser.state[parameter]
        if not group.broadcast(torch.tensor([len(state)])).item():
            state.clear()
            continue
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        for name in ("step", "exp_avg", "exp_avg_sq"):
            values = state[name].reshape(-1).contiguous()
            state[name].copy_(group.broadcast(values).view_as(state[name]))


def _to_arrays(
    features: ItemFeatures,
    queries: QueryExamples | None,
    module: RetrieverNetwork,
    num_countries: int,
) -> dict[str, NDArray[Any]]:
    """What a helper builds its network from."""
    content: Any = features.content
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(content, PackedRows):
        arrays |= {"values": content.values, "scales": content.scales}
    else:
        arrays |= {"values": np.asarray(content, np.float32)}
    arrays |= {"codes": features.codes, "seen": module.seen.numpy() > 0}
    arrays["sizes"] = np.array([features.codebook_size, num_countries])
    if features.tokens is not None:
        arrays |= {"hashes": features.tokens.hashes, "starts": features.tokens.starts}
    if queries is not None:
        arrays |= {"query_vectors": queries.vectors, **Strings.of(queries.texts).arrays("texts")}
    if module.tower.id_donors is not None:
        donors, shares = module.tower.id_donors
        arrays |= {"donors": donors.numpy(), "donor_weights": shares.numpy()}
    return arrays


def _open_module(folder: Path, config: RetrieverConfig) -> tuple[RetrieverNetwork, RowAdamW]:
    """A network like that of the training, and its optimiser."""
    # Copies, as tensors cannot be made of what is mapped read-only.
    arrays = {name: np.array(values) for name, values in open_arrays(folder).items()}
    content: FloatArray = arrays["values"]
    if "scales" in arrays:
        content = cast("FloatArray", PackedRows(arrays["values"], arrays["scales"]))
    tokens = Tokens(arrays["hashes"], arrays["starts"]) if "hashes" in arrays else None
    codebook_size, num_countries = arrays["sizes"].tolist()
    features = ItemFeatures(content, arrays["codes"], codebook_size, tokens=tokens)
    queries = None
    if "query_vectors" in arrays:
        vectors = arrays["query_vectors"]
        texts = Strings.of_arrays("texts", arrays)
        queries = QueryExamples(texts, vectors, np.zeros(len(vectors), np.int32))
    seen: BoolArray = arrays["seen"]
    without_donors = config.model_copy(update={"num_id_donors": 0})
    module = RetrieverNetwork(features, queries, seen, without_donors, None, num_countries)
    if "donors" in arrays:
        donors, shares = arrays["donors"], arrays["donor_weights"]
        module.tower.id_donors = (torch.from_numpy(donors), torch.from_numpy(shares))
    return module, build_optimiser(module, config)
