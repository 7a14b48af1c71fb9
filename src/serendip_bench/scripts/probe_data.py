"""What ``probe.py`` asks: rows with a label, and features made by hand; nothing of it is learned.

Shapes: R rows, N items, G genres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serendip.data.dataset import Dataset, EventLog
from serendip.data.item import Catalogue, Item
from serendip.data.vocabulary import Vocabulary
from serendip_bench.datasets.posters import build_genre_table

DAY = 86_400.0
WINDOW = 30 * DAY
"""A month: what is foretold lies in the next 30 days."""

MIN_RATINGS = 5
"""So many ratings after the cut make a film's mean, and so many in a month a favourite genre."""

MIN_PAST = 5
"""Events that a user has before a month that is asked for."""

MIN_ROWS = 15
"""Genres that are the favourite in fewer rows are one class, ``other``."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRows:
    """One task: what is foretold, of whom and when.

    Args:
        name: of the task.
        metric: ``R2``, ``accuracy`` or ``AUROC``.
        labels: (R,).
        units: (R,) who or what a row is about; intervals draw units, folds never divide one.
        subjects: (R,) item or user numbers whose vectors are read.
        times: (R,) Unix seconds up to which a user's history is read; empty = items are read.
        hand_made: name -> (R, F) features, the plainer set first.
        foretold: (R,) rows that are foretold, from the others; where all are, from one another in
            folds.
    """

    name: str
    metric: str
    labels: NDArray[Any]
    units: NDArray[np.intp]
    subjects: NDArray[np.intp]
    times: Matrix
    hand_made: Mapping[str, Matrix]
    foretold: NDArray[np.bool_]


def film_ratings(dataset: Dataset, cut: float) -> ProbeRows:
    """The mean rating that a film gets from ``cut`` on, of films that were rated before."""
    log, films = dataset.events, dataset.num_items
    late = log.timestamps >= cut
    (past, past_sum), (count, total) = (_counted(log.rows(rows), films) for rows in (~late, late))
    asked = np.flatnonzero((count >= MIN_RATINGS) & (past > 0))
    overall = past_sum.sum() / past.sum()
    known_mean = (past_sum + 5 * overall) / (past + 5)
    years = np.array([_number(film.attributes.get("year")) for film in dataset.catalogue.items])
    years[np.isnan(years)] = np.nanmedian(years)
    plain = np.column_stack([build_genre_table(dataset.catalogue), years, np.log1p(past)])[asked]
    return ProbeRows(
        "mean rating of a film",
        "R2",
        (total / np.maximum(count, 1))[asked],
        np.arange(len(asked)),
        asked,
        np.empty(0),
        {"hand-made": plain, "hand-made, past mean": np.column_stack([plain, known_mean[asked]])},
        np.ones(len(asked), np.bool_),
    )


def favourite_genres(dataset: Dataset, cut: float) -> ProbeRows:
    """The genre of most of what a user rates in a month, months from ``cut`` on."""
    log, genres = dataset.events, build_genre_table(dataset.catalogue).astype(np.float64)
    genres /= np.maximum(genres.sum(1, keepdims=True), 1)
    found = []
    for month in np.arange(cut, log.timestamps[-1], WINDOW):
        inside = (log.timestamps >= month) & (log.timestamps < month + WINDOW)
        for user in np.unique(log.users[inside]):
            past = dataset.history(int(user)).before(month)
            items = log.items[inside & (log.users == user)]
            if len(past) < MIN_PAST or len(items) < MIN_RATINGS:
                continue
            shares = [genres[past.item_nums], genres[past.item_nums[past.liked]]]
            shares += [genres[past.last(20).item_nums]]
            known = [part.mean(0) if len(part) else np.zeros(genres.shape[1]) for part in shares]
            told = np.concatenate([*known, [np.log1p(len(past)), past.liked.mean()]])
            found.append((int(user), float(month), int(genres[items].sum(0).argmax()), told))
    users, months, labels, told_rows = map(np.array, zip(*found, strict=True))
    rare = np.bincount(labels)[labels] < MIN_ROWS
    return ProbeRows(
        "favourite genre next month",
        "accuracy",
        np.where(rare, -1, labels),
        users,
        users,
        months,
        {"hand-made": told_rows},
        np.ones(len(labels), np.bool_),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """A shop's log as a dataset, with what the dataset does not hold, event by event.

    Args:
        dataset: customers, products, purchases.
        invoices: (E,) numbers of the baskets.
        amounts: (E,) money.
    """

    dataset: Dataset
    invoices: NDArray[np.intp]
    amounts: Matrix


def read_purchases(path: Path) -> Purchases:
    """Purchases of known customers; cancellations and corrections are left out."""
    table = pq.read_table(path)
    kept = pc.and_(pc.greater(table["Quantity"], 0), pc.greater(table["UnitPrice"], 0))
    kept = pc.and_(kept, pc.invert(pc.starts_with(table["InvoiceNo"], "C")))
    table = table.filter(pc.and_(kept, pc.is_valid(table["CustomerID"]))).sort_by("InvoiceDate")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    codes = columns["StockCode"].astype(str).tolist()
    titles = columns["Description"].astype(str).tolist()
    names = dict(zip(codes, titles, strict=True))
    catalogue = Catalogue(Item(code, title.strip().capitalize()) for code, title in names.items())
    customers = columns["CustomerID"].astype(np.int64).astype(str).tolist()
    users = Vocabulary(dict.fromkeys(customers))
    log = EventLog(
        users.numbers(customers),
        catalogue.vocabulary.numbers(codes),
        columns["InvoiceDate"].astype("datetime64[us]").astype(np.float64) / 1e6,
        np.ones(len(codes), np.bool_),
        np.full(len(codes), np.nan, np.float32),
    )
    invoices = np.unique(columns["InvoiceNo"].astype(str), return_inverse=True)[1]
    amounts = columns["Quantity"].astype(np.float64) * columns["UnitPrice"].astype(np.float64)
    return Purchases(Dataset(catalogue, users, log), invoices, amounts)


def returns(shop: Purchases, cuts: Matrix, learned: int) -> ProbeRows:
    """Whether a customer buys again within 30 days of a cut.

    Args:
        shop: where.
        cuts: Unix seconds, 30 days apart or more; every customer known by then is a row.
        learned: so many of the first cuts are learned from, the others are foretold.
    """
    log = shop.dataset.events
    parts, labels, users, times = [], [], [], []
    for cut in cuts:
        past = log.timestamps < cut
        later = (log.timestamps >= cut) & (log.timestamps < cut + WINDOW)
        known = np.unique(log.users[past])
        parts.append(_rfm(shop, past, cut)[known])
        labels.append(np.isin(known, log.users[later]).astype(np.int64))
        users.append(known.astype(np.intp))
        times.append(np.full(len(known), cut))
    who, when = np.concatenate(users), np.concatenate(times)
    return ProbeRows(
        "customer returns within 30 days",
        "AUROC",
        np.concatenate(labels),
        who,
        who,
        when,
        {"hand-made": np.concatenate(parts)},
        when >= cuts[learned],
    )


def _rfm(shop: Purchases, past: NDArray[np.bool_], cut: float) -> Matrix:
    """(users, 9) recency, frequency, money and what follows from them; zeros for the unknown."""
    log, count = shop.dataset.events, shop.dataset.num_users
    users, times, money = log.users[past], log.timestamps[past], shop.amounts[past]
    first, last = np.full(count, cut), np.zeros(count)
    np.minimum.at(first, users, times)
    np.maximum.at(last, users, times)
    visits = [
        _distinct(users[times >= since], shop.invoices[past][times >= since], count)
        for since in (-np.inf, cut - WINDOW, cut - 3 * WINDOW)
    ]
    recency, tenure = (cut - last) / DAY, (cut - first) / DAY
    rhythm = tenure / np.maximum(visits[0], 1)
    items = _distinct(users, log.items[past].astype(np.intp), count)
    spent = np.bincount(users, money, count)
    logs = (np.log1p(one) for one in (recency, rhythm, *visits, items, spent))
    return np.column_stack([recency, tenure, *logs])


def _distinct(users: NDArray[Any], what: NDArray[Any], count: int) -> Matrix:
    """(users,) how many different values each user has."""
    pairs = np.unique(np.stack([users, what], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count).astype(np.float64)


def _counted(log: EventLog, films: int) -> tuple[Matrix, Matrix]:
    """(N,) number and sum of the ratings of each film."""
    counts = np.bincount(log.items, minlength=films)
    sums = np.bincount(log.items, log.values, films)
    return counts.astype(np.float64), sums.astype(np.float64)


def _number(value: Any) -> float:
    return value if isinstance(value, float) else np.nan
