"""Baskets of a shop that sells to many countries: does it help to know where a request comes from?

``online_retail.parquet`` holds one row per line of an invoice. Left out are cancellations, rows
without a customer, with no quantity or price, and whatever is no product (postage, samples): stock
codes that do not begin with five digits. An event is a product in a basket; a product that stands
on an invoice twice counts once. The country of a customer is that of the first invoice.

Split and asked in time, see ``timed``: ``home`` names the country, in training as well; ``abroad``
are its requests from outside of the country that has most customers, ``newcomers`` those of
customers without a basket before. All products count as liked, so ``similar`` asks for the product
that the customer bought next, in the order of the invoice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset, EventLog, UserCountries
from serendip.data.files.tables import Row, open_table
from serendip.data.item import Catalogue, Item
from serendip.data.vocabulary import Vocabulary
from serendip.errors import DataError
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
"""``unified-no-country`` has never heard of countries; ``unified-hidden-country`` is the unified
model asked without one, which also counts how many of its answers that changes."""


def read_retail(folder: Path) -> Dataset:
    """Products by first sale, customers with their countries, baskets in order of time.

    Raises:
        DataError: the file is missing, lacks a column, or holds no sale.
    """
    table = open_table(folder / RETAIL_FILE)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{table.path} has no column {missing[0]!r}.", "Export the whole sheet.")
    sales = list(dict.fromkeys(_sales(table.rows(_COLUMNS))))
    if not sales:
        raise DataError(f"{table.path} holds no sale to a customer.")
    times = np.array([sale[0] for sale in sales], "datetime64[s]").astype(np.float64)
    order = np.argsort(times, kind="stable")
    products, customers, countries = (
        [sales[row][column] for row in order.tolist()] for column in (2, 3, 4)
    )
    users = Vocabulary(dict.fromkeys(customers))
    catalogue = Catalogue(_named(table.rows(_COLUMNS), dict.fromkeys(products)))
    log = EventLog(
        users.numbers(customers),
        catalogue.vocabulary.numbers(products),
        times[order],
        np.ones(len(sales), np.bool_),
        np.full(len(sales), np.nan, np.float32),
    )
    return Dataset(catalogue, users, log).with_countries(_countries(customers, countries))


def retail_trial(folder: Path, words: FloatArray) -> UnifiedSplit:
    """What is learned from and asked; there are no words."""
    dataset = read_retail(folder)
    timed, countries = TimedSplit.of(dataset), dataset.countries
    assert countries is not None
    of_user = dict(zip(dataset.users.ids, _names(countries), strict=True))
    known = timed.split.train.users
    own = countries.of_users[dataset.users.numbers(known.ids)]
    train = timed.split.train.with_countries(UserCountries(countries.names, own))
    largest = Counter(of_user.values()).most_common(1)[0][0]
    test, validation = (
        {**_homes(_placed(home, of_user), largest), "similar": similar}
        for home, similar in (
            (timed.home.test, timed.similar.test),
            (timed.home.validation, timed.similar.validation),
        )
    )
    nothing_cold = np.zeros(dataset.num_items, np.bool_)
    trial = BenchSplit(train, timed.numbers, validation["home"], test["home"], nothing_cold)
    return UnifiedSplit(trial, test, validation)


def retail_facts(folder: Path) -> dict[str, Any]:
    """Customers per country, most first."""
    countries = read_retail(folder).countries
    assert countries is not None
    return {"customers": dict(Counter(_names(countries)).most_common())}


def _sales(rows: Iterable[Row]) -> Iterable[tuple[str, str, str, str, str]]:
    """(time, invoice, product, customer, country) of every line that sells something."""
    for row in rows:
        invoice, product, _, quantity, time, price, customer, country = map(str, row)
        is_sale = customer and not invoice.startswith("C") and product[:5].isdigit()
        if is_sale and len(product) >= 5 and float(quantity) > 0 and float(price) > 0:
            yield time, invoice, product, customer, country


def _named(rows: Iterable[Row], products: Mapping[str, None]) -> list[Item]:
    """Products by the name that most of their lines have; the first of equally frequent ones."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for _, product, name, *_ in rows:
        names[str(product)][str(name).strip()] += 1
    return [Item(product, names[product].most_common(1)[0][0]) for product in products]


def _countries(customers: list[str], countries: list[str]) -> UserCountries:
    """The first country of every customer, customers in order of their first basket."""
    first: dict[str, str] = {}
    for customer, country in zip(customers, countries, strict=True):
        first.setdefault(customer, country)
    names = tuple(sorted(set(first.values())))
    number = {name: place for place, name in enumerate(names)}
    return UserCountries(names, np.array([number[name] for name in first.values()], np.int32))


def _names(countries: UserCountries) -> list[str]:
    return [countries.names[place] for place in countries.of_users.tolist()]


def _placed(asked: RequestSet, of_user: Mapping[str, str]) -> RequestSet:
    """Requests that name the country of their user."""
    queries = [replace(query, country=of_user[query.user_id]) for query in asked.queries]
    return replace(asked, queries=queries)


def _homes(asked: RequestSet, largest: str) -> dict[str, RequestSet]:
    is_abroad = np.array([query.country != largest for query in asked.queries], np.bool_)
    is_new = np.array([len(query.history) == 0 for query in asked.queries], np.bool_)
    parts = {"home-abroad": asked.where(is_abroad), "home-newcomers": asked.where(is_new)}
    return {"home": asked, **parts}
