"""Events of Metarank (JSON lines) become files that ``serendip init`` reads.

Usage: python examples/06_metarank_events.py [EVENTS.jsonl FOLDER]
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

EXAMPLE = """
{"event": "item", "id": "1", "item": "i1", "fields": [{"name": "title", "value": "Tea"}]}
{"event": "ranking", "id": "r", "timestamp": "1700000000000", "user": "u", "items": [{"id": "i1"}]}
{"event": "interaction", "type": "click", "timestamp": "1700000001000", "user": "u", "item": "i1"}
"""

text = Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else EXAMPLE
out = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
items: dict[str, dict[str, object]] = {}
events = []
for row in map(json.loads, filter(None, text.splitlines())):
    if row["event"] == "item":  # later fields replace earlier ones
        fields = {field["name"]: field["value"] for field in row["fields"]}
        items.setdefault(row["item"], {"item_id": row["item"]}).update(fields)
    elif row["event"] != "user":
        shown = [one["id"] for one in row.get("items", [])] or [row["item"]]
        action = row.get("type", "impression")
        events += [(row["user"], item, action, int(row["timestamp"]) / 1000) for item in shown]
lines = [json.dumps(item, ensure_ascii=False) for item in items.values()]
(out / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
with (out / "events.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("user_id", "item_id", "action", "timestamp"), *events])
print(f"{len(items):,} items, {len(events):,} events")
print(f"serendip init --items {out / 'items.jsonl'} --events {out / 'events.csv'}")
print("serendip train")
