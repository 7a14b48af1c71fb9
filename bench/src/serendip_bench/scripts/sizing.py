"""What a shop of any size needs: the arithmetic of ``serendip_bench.sizing``, as a JSON document.

Usage: python -m serendip_bench.scripts.sizing --items 100000000 --events 1000000000
    --requests 10000 [--core-hour .05] [--gib-hour .005] [--used .5] [--events-per-request 1]

``break_points`` are numbers of items, of shops with as many events per item as the given one.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from serendip_bench.sizing import MachinePrices, Shop, Slopes, find_break_points, find_needs


def main() -> None:
    """Read the command line and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=float, required=True)
    parser.add_argument("--events", type=float, required=True)
    parser.add_argument("--requests", type=float, required=True, help="per second")
    defaults = MachinePrices()
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    given = vars(parser.parse_args())
    shop, requests = Shop(given.pop("items"), given.pop("events")), given.pop("requests")
    slopes = Slopes()
    needs = find_needs(shop, requests, slopes, MachinePrices(**given))
    document = {
        "needs": asdict(needs),
        "break_points": asdict(find_break_points(shop.events / shop.items, slopes)),
        "prices": given,
        "slopes": asdict(slopes),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
