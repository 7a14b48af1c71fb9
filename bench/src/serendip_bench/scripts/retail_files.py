"""Sales of Online Retail as the files of a shop that begins with Serendip.

    python -m serendip_bench.scripts.retail_files FOLDER OUT [--customers 1000]

FOLDER has ``online_retail.parquet``, a row per line of an invoice. OUT gets ``items.csv`` of all
products and ``events.csv`` of the sales to so many customers, drawn at random, or to all: what
`serendip init` reads. Left out are cancellations, lines without customer, quantity or price, and
what is no product (postage, samples): stock codes that do not begin with five digits. Lines that an
invoice repeats count once; the country of a customer is that of the first invoice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb
import numpy as np

_TABLES = """
CREATE TABLE lines AS SELECT row_number() OVER () AS n, * FROM read_parquet($file);
CREATE TABLE sales AS
    SELECT min(n) AS n, InvoiceDate, StockCode, CustomerID, Country FROM lines
    WHERE CustomerID IS NOT NULL AND InvoiceNo NOT LIKE 'C%'
        AND regexp_matches(StockCode, '^[0-9]{5}') AND Quantity > 0 AND UnitPrice > 0
    GROUP BY InvoiceDate, InvoiceNo, StockCode, CustomerID, Country ORDER BY InvoiceDate, n;
CREATE TABLE customers AS
    SELECT CustomerID, arg_min(Country, (InvoiceDate, n)) AS Country,
        row_number() OVER (ORDER BY min((InvoiceDate, n))) - 1 AS place
    FROM sales GROUP BY CustomerID;
CREATE TABLE names AS
    SELECT StockCode, trim(Description) AS Description, count(*) AS times, min(n) AS n
    FROM lines GROUP BY ALL;
"""
_ITEMS = """
SELECT StockCode, arg_max(names.Description, (times, -names.n)) AS Description
FROM sales JOIN names USING (StockCode) GROUP BY StockCode ORDER BY min((InvoiceDate, sales.n))
"""
_EVENTS = """
SELECT CAST(CustomerID AS BIGINT) AS CustomerID, StockCode, InvoiceDate, customers.Country
FROM sales JOIN customers USING (CustomerID)
WHERE list_contains($kept, place) ORDER BY InvoiceDate, n
"""


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--customers", type=int, default=0, help="0 = all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    database = duckdb.connect()
    for statement in _TABLES.split(";")[:-1]:
        file = {"file": str(options.folder / "online_retail.parquet")}
        database.execute(statement, file if "$file" in statement else None)
    (count,) = database.execute("SELECT count(*) FROM customers").fetchall()[0]
    kept = np.random.default_rng(0).permutation(count)[: options.customers or count]
    database.sql(_ITEMS).write_csv(str(options.out / "items.csv"))
    events = database.sql(_EVENTS, params={"kept": kept.tolist()})
    events.write_csv(str(options.out / "events.csv"), timestamp_format="%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    main()
