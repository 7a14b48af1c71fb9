"""Quality of a surface that sends messages: how often it sends, and how good what it sends is.

A message may hold fewer items than others, or not be sent at all, so that lists of ten do not
compare it. Every request is the chance of one message to one user:

- sent: share of the users who get one;
- precision: chosen items / sent items, mean over the messages that are sent;
- useful: share of the users who get a message with at least one item that they then choose.

Shapes: T requests, k length of a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.intervals import RESAMPLES, Estimate, estimate
from serendip.evaluate.runs import PADDING


@dataclass(frozen=True, slots=True)
class SystemMessages:
    """Messages of one system.

    Args:
        sent: share of users who get a message.
        precision: share of the sent items that are chosen; over the messages that are sent.
        useful: share of users who get a message with a chosen item.
        items: mean number of items of a message that is sent; None = none is sent.
    """

    sent: Estimate
    precision: Estimate
    useful: Estimate
    items: float | None


def measure_messages(
    lists: Mapping[str, IntArray],
    relevant: Sequence[IntArray],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, SystemMessages]:
    """Measure the messages of all systems to the same users, the subject first.

    Baselines send to everybody.

    Args:
        lists: system -> (T, k) sent items, padded with -1; a row of -1 is not sent.
        relevant: T arrays of the items that the user chose afterwards.
        seed: of the bootstrap.
        resamples: number of bootstrap draws.
    """
    return {name: _measure(sent, relevant, seed, resamples) for name, sent in lists.items()}


def _measure(
    lists: IntArray, relevant: Sequence[IntArray], seed: int, resamples: int
) -> SystemMessages:
    sizes = (lists != PADDING).sum(axis=1)  # (T,)
    chosen = np.array(
        [np.isin(row, items).sum() for row, items in zip(lists, relevant, strict=True)], np.int64
    )
    is_sent = sizes > 0
    return SystemMessages(
        sent=estimate(is_sent.astype(np.float64), seed, resamples),
        precision=estimate(chosen[is_sent] / sizes[is_sent], seed, resamples),
        useful=estimate((chosen > 0).astype(np.float64), seed, resamples),
        items=float(sizes[is_sent].mean()) if is_sent.any() else None,
    )
