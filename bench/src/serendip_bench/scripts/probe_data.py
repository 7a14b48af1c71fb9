"""Tasks of ``probe.py``: rows with labels and hand-made features.

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

from serendip.data import Catalogue, Dataset, EventLog, Item, Vocabulary
from serendip_bench.datasets.posters import build_genre_table

DAY = 86_400.0
WINDOW = 30 * DAY
"""Prediction window: 30 days."""

MIN_RATINGS = 5
"""Minimum number of ratings for the mean of a film, and for the favourite genre of a month."""

MIN_PAST = 5
"""Minimum number of events of a user before a predicted month."""

MIN_ROWS = 15
"""Minimum number of rows of a genre; rarer ones are merged into one class."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRows:
    """A prediction task.

    Args:
        name: of the task.
        metric: ``R2``, ``accuracy`` or ``AUROC``.
        labels: (R,).
        units: (R,) groups of rows: the bootstrap resamples units, and folds keep them whole.
        subjects: (R,) item or user numbers whose vectors are read.
        times: (R,) Unix seconds that end a user's history; empty = item vectors are read.
        hand_made: name -> (R, F) features, the simplest set first.
        is_predicted: (R,) test rows, predicted from the others; all True = cross-validation.
    """

    name: str
    metric: str
    labels: NDArray[Any]
    units: NDArray[np.intp]
    subjects: NDArray[np.intp]
    times: Matrix
    hand_made: Mapping[str, Matrix]
    is_predicted: NDArray[np.bool_]


def build_rating_rows(dataset: Dataset, cut: float) -> ProbeRows:
    """Mean rating of a film from ``cut`` on, for films with an earlier rating."""
    log, num_films = dataset.events, dataset.num_items
    is_late = log.timestamps >= cut
    (past_count, past_sum), (count, total) = (
        _count_ratings(log.rows(rows), num_films) for rows in (~is_late, is_late)
    )
    films_rated = np.flatnonzero((count >= MIN_RATINGS) & (past_count > 0))
    overall = past_sum.sum() / past_count.sum()
    smoothed_mean = (past_sum + 5 * overall) / (past_count + 5)  # (N,)
    years = np.array([_to_number(film.attributes.get("year")) for film in dataset.catalogue.items])
    years[np.isnan(years)] = np.nanmedian(years)
    plain = np.column_stack([build_genre_table(dataset.catalogue), years, np.log1p(past_count)])[
        films_rated
    ]
    return ProbeRows(
        "mean rating of a film",
        "R2",
        (total / np.maximum(count, 1))[films_rated],
        np.arange(len(films_rated)),
        films_rated,
        np.empty(0),
        {
            "hand-made": plain,
            "hand-made, past mean": np.column_stack([plain, smoothed_mean[films_rated]]),
        },
        np.ones(len(films_rated), np.bool_),
    )


def build_genre_rows(dataset: Dataset, cut: float) -> ProbeRows:
    """Most frequent genre of a user's ratings in a month, for months from ``cut`` on."""
    log, genres = dataset.events, build_genre_table(dataset.catalogue).astype(np.float64)
    genres /= np.maximum(genres.sum(1, keepdims=True), 1)  # (N, G)
    rows = []
    for month in np.arange(cut, log.timestamps[-1], WINDOW):
        in_month = (log.timestamps >= month) & (log.timestamps < month + WINDOW)
        for user in np.unique(log.users[in_month]):
            history = dataset.history(int(user)).before(month)
            items = log.items[in_month & (log.users == user)]
            if len(history) < MIN_PAST or len(items) < MIN_RATINGS:
                continue
            shares = [genres[history.item_nums], genres[history.item_nums[history.liked]]]
            shares += [genres[history.last(20).item_nums]]
            means = [part.mean(0) if len(part) else np.zeros(genres.shape[1]) for part in shares]
            features = np.concatenate([*means, [np.log1p(len(history)), history.liked.mean()]])
            rows.append((int(user), float(month), int(genres[items].sum(0).argmax()), features))
    users, months, labels, feature_rows = map(np.array, zip(*rows, strict=True))
    rare = np.bincount(labels)[labels] < MIN_ROWS
    return ProbeRows(
        "favourite genre next month",
        "accuracy",
        np.where(rare, -1, labels),
        users,
        users,
        months,
        {"hand-made": feature_rows},
        np.ones(len(labels), np.bool_),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """A shop's log as a dataset, with further columns of its events.

    Args:
        dataset: customers, products, purchases.
        invoices: (E,) numbers of the baskets.
        amounts: (E,) monetary value.
    """

    dataset: Dataset
    invoices: NDArray[np.intp]
    amounts: Matrix


def read_purchases(path: Path) -> Purchases:
    """Read purchases of known customers, without cancellations and corrections."""
    table = pq.read_table(path)
    is_purchase = pc.and_(pc.greater(table["Quantity"], 0), pc.greater(table["UnitPrice"], 0))
    is_purchase = pc.and_(is_purchase, pc.invert(pc.starts_with(table["InvoiceNo"], "C")))
    table = table.filter(pc.and_(is_purchase, pc.is_valid(table["CustomerID"]))).sort_by(
        "InvoiceDate"
    )
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


def build_return_rows(shop: Purchases, cuts: Matrix, num_training: int) -> ProbeRows:
    """Whether a customer buys again within 30 days of a cut.

    Args:
        shop: purchases.
        cuts: Unix seconds, 30 days apart or more; every customer with an earlier purchase is a row.
        num_training: number of first cuts for training; the others are predicted.
    """
    log = shop.dataset.events
    parts, labels, users, times = [], [], [], []
    for cut in cuts:
        is_past = log.timestamps < cut
        is_later = (log.timestamps >= cut) & (log.timestamps < cut + WINDOW)
        known_users = np.unique(log.users[is_past])
        parts.append(_compute_rfm(shop, is_past, cut)[known_users])
        labels.append(np.isin(known_users, log.users[is_later]).astype(np.int64))
        users.append(known_users.astype(np.intp))
        times.append(np.full(len(known_users), cut))
    all_users, all_times = np.concatenate(users), np.concatenate(times)
    return ProbeRows(
        "customer returns within 30 days",
        "AUROC",
        np.concatenate(labels),
        all_users,
        all_users,
        all_times,
        {"hand-made": np.concatenate(parts)},
        all_times >= cuts[num_training],
    )


def _compute_rfm(shop: Purchases, is_past: NDArray[np.bool_], cut: float) -> Matrix:
    """(users, 9) recency, frequency, monetary value (RFM) and derived features."""
    log, count = shop.dataset.events, shop.dataset.num_users
    users, times, money = log.users[is_past], log.timestamps[is_past], shop.amounts[is_past]
    first, last = np.full(count, cut), np.zeros(count)
    np.minimum.at(first, users, times)
    np.maximum.at(last, users, times)
    visits = [
        _count_distinct(users[times >= since], shop.invoices[is_past][times >= since], count)
        for since in (-np.inf, cut - WINDOW, cut - 3 * WINDOW)
    ]
    recency, tenure = (cut - last) / DAY, (cut - first) / DAY
    rhythm = tenure / np.maximum(visits[0], 1)
    items = _count_distinct(users, log.items[is_past].astype(np.intp), count)
    totals = np.bincount(users, money, count)
    log_columns = (np.log1p(column) for column in (recency, rhythm, *visits, items, totals))
    return np.column_stack([recency, tenure, *log_columns])


def _count_distinct(users: NDArray[Any], values: NDArray[Any], count: int) -> Matrix:
    """(users,) number of distinct values of each user."""
    pairs = np.unique(np.stack([users, values], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count).astype(np.float64)


def _count_ratings(log: EventLog, films: int) -> tuple[Matrix, Matrix]:
    """(N,) number and (N,) sum of the ratings of each film."""
    counts = np.bincount(log.items, minlength=films)
    sums = np.bincount(log.items, log.values, films)
    return counts.astype(np.float64), sums.astype(np.float64)


def _to_number(value: Any) -> float:
    return value if isinstance(value, float) else np.nan
