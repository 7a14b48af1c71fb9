"""Cost of importing a shop, against DuckDB's raw read of the same events in the same run (Linux).

Usage: python -m serendip_bench.scripts.import_log SHOP_DIR [--json FILE]

SHOP_DIR has ``items.parquet`` (``sku``, ...) and ``events.parquet`` (``customer``, ``sku``,
``when``, ``action``). Each step is a process of its own; CPU-seconds and the largest resident set
are those of all its processes, start-up included:

- ``raw``: DuckDB reads the events and numbers both ids;
- ``init``: ``serendip init`` with all its checks;
- ``snapshot``: the database as a training sees it;
- ``past``: the store is opened and the past of its 1,000 most active users is read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from serendip_bench.processes import run_measured

_RAW = """
import duckdb, sys
database = duckdb.connect(config={"threads": 1})
for column in ("customer", "sku"):
    database.sql(
        f"CREATE TABLE {column}s AS SELECT {column}, row_number() OVER () - 1 AS number "
        f"FROM (SELECT DISTINCT {column} FROM read_parquet('{sys.argv[1]}'))"
    )
database.sql(
    "CREATE TABLE log AS SELECT customers.number AS user_num, skus.number AS item_num, "
    f"\\"when\\", action FROM read_parquet('{sys.argv[1]}') JOIN customers USING (customer) "
    "JOIN skus USING (sku)"
)
"""
_SNAPSHOT = """
import sys
from serendip.data.events.event import ActionRules
from serendip.data.snapshot import take_snapshot
from serendip.data.store.store import Store
dataset = take_snapshot(Store.open(sys.argv[1]), ActionRules())
assert len(dataset.events)
"""
_PAST = """
import sys
from serendip.data.store.store import Store
store = Store.open(sys.argv[1])
for user_id, count in store.log.active_users(1000):
    assert len(store.log.past(user_id)) == count
"""


def main() -> None:
    """Measure all steps and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shop", type=Path, help="Folder with items.parquet and events.parquet.")
    parser.add_argument("--json", type=Path, help="File for the result.")
    options = parser.parse_args()
    items, events = options.shop / "items.parquet", options.shop / "events.parquet"
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "serendip.db")
        init = ["init", "-w", folder, "--items", str(items), "--events", str(events)]
        commands = {
            "raw": ["-c", _RAW, str(events)],
            "init": ["-m", "serendip", *init],
            "snapshot": ["-c", _SNAPSHOT, database],
            "past": ["-c", _PAST, database],
        }
        costs = {name: run_measured([sys.executable, *words]) for name, words in commands.items()}
        database_mb = round(Path(database).stat().st_size / 2**20, 1)
    result = {
        "benchmark": "import_log",
        "shop": options.shop.name,
        **costs,
        "init_to_raw": round(costs["init"]["cpu_s"] / costs["raw"]["cpu_s"], 2),
        "database_mb": database_mb,
    }
    line = json.dumps(result)
    print(line)
    if options.json:
        options.json.write_text(line + "\n")


if __name__ == "__main__":
    main()
