"""A shop's invoices, small enough for tests, in the file of Online Retail."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_PRODUCTS, NUM_CUSTOMERS, BASKETS = 24, 16, 4
BEGIN = datetime(2011, 1, 1, 9, 0)


def line(invoice: int, product: str, minute: int, customer: int | None, **other: Any) -> Any:
    """One line of an invoice; every other customer is in France."""
    return {
        "InvoiceNo": str(invoice),
        "StockCode": product,
        "Description": f"THING {product}",
        "Quantity": 2,
        "InvoiceDate": BEGIN + timedelta(minutes=minute),
        "UnitPrice": 1.25,
        "CustomerID": customer,
        "Country": "France" if customer is not None and customer % 4 == 0 else "United Kingdom",
        **other,
    }


def write_retail(folder: Path) -> Path:
    """Baskets of four products of a customer's country, in turn, and lines that are no sales."""
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), []
    for number in range(NUM_CUSTOMERS * BASKETS):
        customer = number % NUM_CUSTOMERS if number % 7 else NUM_CUSTOMERS + number
        half = NUM_PRODUCTS // 2
        products = rng.permutation(half)[:4] + (half if customer % 4 == 0 else 0)
        for product in products.tolist():
            lines.append(line(5000 + number, f"{10000 + product}", 7 * number, customer))
    lines += [
        line(5000, lines[0]["StockCode"], 0, lines[0]["CustomerID"], Quantity=1),
        line(5000, lines[0]["StockCode"], 0, 2, InvoiceNo="C5000"),
        line(5001, "10001", 8, None),
        line(5001, "POST", 8, 3),
        line(5001, "1000", 8, 3),
        line(5001, "10002", 8, 3, Quantity=-1),
        line(5001, "10003", 8, 3, UnitPrice=0.0),
        line(9001, "10001", 9000, 1, Country="Norway", Description="RARE NAME"),
    ]
    pq.write_table(pa.Table.from_pylist(lines), folder / "online_retail.parquet")
    return folder
