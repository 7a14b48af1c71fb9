"""Files for other engines, from a workspace's tables: Gorse, RecBole, OpenSearch, UBI.

Usage: python examples/05_other_engines.py WORKSPACE [FOLDER]
"""

import json
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from serendip.engine.workspace import Workspace

out = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
with closing(Workspace.open(Path(sys.argv[1])).open_store()) as store:
    tables = store.tables()
events = tables.events.to_pylist()
chosen = [row for row in events if row["item_id"]]


def write(name: str, rows: list[str]) -> None:
    """Write a file, a line each."""
    (out / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{name}: {len(rows):,} lines")


write(  # POST /api/feedback
    "gorse_feedback.jsonl",
    [
        json.dumps(
            {"FeedbackType": row["action"], "UserId": row["user_id"], "ItemId": row["item_id"]}
        )
        for row in chosen
    ],
)
header = "user_id:token\titem_id:token\ttimestamp:float"
lines = [f"{row['user_id']}\t{row['item_id']}\t{row['timestamp']}" for row in chosen]
write("data.inter", [header, *lines])  # an atomic file of RecBole
bulk = []
for item in tables.items:  # POST /_bulk of OpenSearch
    bulk += [json.dumps({"index": {"_id": item.item_id}}), json.dumps({"title": item.title})]
write("items.ndjson", bulk)
queries = [  # User Behavior Insights: ubi_queries
    json.dumps({"query_id": row["request_id"], "user_query": row["query"]})
    for row in events
    if row.get("query")
]
write("ubi_queries.ndjson", queries)
