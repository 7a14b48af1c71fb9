"""Online Retail: baskets of an international shop, to measure the value of the request's country.

``online_retail.parquet`` has one row per line of an invoice. Dropped are cancellations, rows
without customer, quantity or price, and rows that are not a product (postage, samples): stock codes
that do not begin with five digits. An event is a product in a basket; duplicate lines of an invoice
count once. The country of a customer is that of the first invoice.

The split is temporal, see ``time_splits``. ``home``: requests have the country, in training as
well; ``abroad`` are requests from outside the country with most customers, ``newcomers`` those of
customers without an earlier basket. ``similar``: all products count as liked, so the target is the
product that the customer bought next, in the order of the invoice.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data import BoolArray, Catalogue, Dataset, EventLog, FloatArray, Item, Vocabulary
from serendip.data.dataset import UserCountries
from serendip.errors import DataError
from serendip.files.tables import open_table
from serendip_bench.splits import BenchSplit, RequestSet
from serendip_bench.time_splits import TimedSplit
from serendip_bench.unified.models import UnifiedModel
from serendip_bench.unified.tasks import UnifiedSplit

RETAIL_FILE = "online_retail.parquet"
_COLUMNS = (
    *("InvoiceNo", "StockCode", "Description", "Quantity"),
    *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
)
PRODUCT_NAME = ("title",)
HOME_SETS = ("", "abroad", "newcomers")

_CONFIG = {
    "tasks": ("home", "similar"),
    "embedding_size": 64,
    "epochs": 4,
    "num_negatives": 512,
    "dropout": 0.2,
    "slots": 4,
    "code_scale": 0.02,
}
_BOTH = ("home", "similar")

RETAIL: dict[str, UnifiedModel] = {
    "unified": UnifiedModel("unified", _BOTH, config=_CONFIG),
    "specialist-home": UnifiedModel(
        "specialist", ("home",), config={**_CONFIG, "tasks": ("home",), "epochs": 5}
    ),
    "specialist-similar": UnifiedModel(
        "specialist", ("similar",), config={**_CONFIG, "tasks": ("similar",), "slots": 29}
    ),
    "unified-no-country": UnifiedModel(
        "unified-no-country", _BOTH, config=_CONFIG, reads_country=False
    ),
    "unified-hidden-country": UnifiedModel(
        "unified-hidden-country", ("home",), of="unified", hides_country=True
    ),
    "unified-no-user": UnifiedModel("unified-no-user", ("home",), of="unified", hides_user=True),
}
"""``unified-no-country`` is trained without countries. ``unified-hidden-country`` is the unified
model on requests without the country; it also counts requests whose top ten that changes."""


def read_retail(folder: Path) -> Dataset:
    """Read products, ordered by first sale, customers with countries, and events by time.

    Raises:
        DataError: the file is missing, lacks a column, or has no sale.
    """
    table = open_table(folder / RETAIL_FILE)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{table.path} has no column {missing[0]!r}.", "Export the whole sheet.")
    sales = list(dict.fromkeys(_iter_sales(table.rows(_COLUMNS))))
    if not sales:
        raise DataError(f"{table.path} has no sale to a customer.")
    times = np.array([sale[0] for sale in sales], "datetime64[s]").astype(np.float64)
    order = np.argsort(times, kind="stable")
    product_ids, customers, countries = (
        [sales[row][column] for row in order.tolist()] for column in (2, 3, 4)
    )
    users = Vocabulary(dict.fromkeys(customers))
    catalogue = Catalogue(_to_items(table.rows(_COLUMNS), dict.fromkeys(product_ids)))
    log = EventLog(
        users.numbers(customers),
        catalogue.vocabulary.numbers(product_ids),
        times[order],
        np.ones(len(sales), np.bool_),
        np.full(len(sales), np.nan, np.float32),
    )
    return Dataset(catalogue, users, log).with_countries(_read_countries(customers, countries))


def write_retail_files(dataset: Dataset, kept: BoolArray, folder: Path) -> None:
    """items.csv of all products and events.csv of the sales to some customers (U,), for `init`."""
    assert dataset.countries is not None
    names, of_users = dataset.countries.names, dataset.countries.of_users
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = [[item.item_id, item.title] for item in dataset.catalogue.items]
        csv.writer(stream).writerows([["StockCode", "Description"], *rows])
    log = dataset.events
    users, items = dataset.users.ids_of(log.users), dataset.catalogue.vocabulary.ids_of(log.items)
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["CustomerID", "StockCode", "InvoiceDate", "Country"])
        for row in np.flatnonzero(kept[log.users]).tolist():
            moment = datetime.fromtimestamp(float(log.timestamps[row]), UTC)
            time = moment.strftime("%Y-%m-%d %H:%M:%S")
            writer.writerow([users[row], items[row], time, names[of_users[log.users[row]]]])


def build_retail_split(folder: Path, words: FloatArray) -> UnifiedSplit:
    """The temporal split and its requests; no search, so ``words`` is ignored."""
    dataset = read_retail(folder)
    timed, countries = TimedSplit.of(dataset), dataset.countries
    assert countries is not None
    of_user = dict(zip(dataset.users.ids, _list_countries(countries), strict=True))
    train_users = timed.split.train.users
    train_countries = countries.of_users[dataset.users.numbers(train_users.ids)]
    train = timed.split.train.with_countries(UserCountries(countries.names, train_countries))
    largest_country = Counter(of_user.values()).most_common(1)[0][0]
    test, validation = (
        {**_split_home(_with_countries(home, of_user), largest_country), "similar": similar}
        for home, similar in (
            (timed.home.test, timed.similar.test),
            (timed.home.validation, timed.similar.validation),
        )
    )
    no_cold = np.zeros(dataset.num_items, np.bool_)
    sequences = BenchSplit(train, timed.numbers, validation["home"], test["home"], no_cold)
    return UnifiedSplit(sequences, test, validation)


def count_customers(folder: Path) -> dict[str, Any]:
    """Number of customers per country, largest first."""
    countries = read_retail(folder).countries
    assert countries is not None
    return {"customers": dict(Counter(_list_countries(countries)).most_common())}


def _iter_sales(rows: Iterable[Sequence[str]]) -> Iterable[tuple[str, str, str, str, str]]:
    """(time, invoice, product, customer, country) of every line that is a sale."""
    for row in rows:
        invoice, product, _, quantity, time, price, customer, country = row
        is_sale = customer and not invoice.startswith("C") and product[:5].isdigit()
        if is_sale and len(product) >= 5 and float(quantity) > 0 and float(price) > 0:
            yield time, invoice, product, customer, country


def _to_items(rows: Iterable[Sequence[str]], products: Mapping[str, None]) -> list[Item]:
    """Products with their most frequent name; ties go to the first."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for _, product, name, *_ in rows:
        names[product][name.strip()] += 1
    return [Item(product, names[product].most_common(1)[0][0]) for product in products]


def _read_countries(customers: list[str], countries: list[str]) -> UserCountries:
    """The first country of every customer, in order of their first basket."""
    first_country: dict[str, str] = {}
    for customer, country in zip(customers, countries, strict=True):
        first_country.setdefault(customer, country)
    names = tuple(sorted(set(first_country.values())))
    number = {name: index for index, name in enumerate(names)}
    return UserCountries(
        names, np.array([number[name] for name in first_country.values()], np.int32)
    )


def _list_countries(countries: UserCountries) -> list[str]:
    return [countries.names[number] for number in countries.of_users.tolist()]


def _with_countries(requests: RequestSet, of_user: Mapping[str, str]) -> RequestSet:
    """Requests with the country of their user."""
    queries = [replace(query, country=of_user[query.user_id]) for query in requests.queries]
    return replace(requests, queries=queries)


def _split_home(requests: RequestSet, largest: str) -> dict[str, RequestSet]:
    is_abroad = np.array([query.country != largest for query in requests.queries], np.bool_)
    is_new = np.array([len(query.history) == 0 for query in requests.queries], np.bool_)
    parts = {"home-abroad": requests.where(is_abroad), "home-newcomers": requests.where(is_new)}
    return {"home": requests, **parts}
