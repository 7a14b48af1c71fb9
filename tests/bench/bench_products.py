"""Products with judged queries, small enough for tests, in the files of the shopping queries."""

import json
from pathlib import Path

NUM_PRODUCTS = 40
KINDS = ("kettle", "lamp", "rug", "chair")
COLOURS = ("red", "blue", "green")
JUDGED = [
    ("kettle, red", "p0", "E"),
    ("kettle, red", "p12", "E"),
    ("kettle, red", "p4", "S"),
    ("kettle, red", "p1", "I"),
    ("kettle, red", "gone", "E"),
    ("something to sit on, blue", "p7", "E"),
    ("something to sit on, blue", "p3", "C"),
]


def write_products(folder: Path) -> Path:
    """Kinds and colours in turn; labels of two queries."""
    folder.mkdir(parents=True)
    with (folder / "items.jsonl").open("w") as stream:
        for number in range(NUM_PRODUCTS):
            kind, colour = KINDS[number % 4], COLOURS[number % 3]
            product = {
                "item_id": f"p{number}",
                "title": f"{colour} {kind} {number}",
                "description": "",
                "bullet_points": f"A {kind}.\nIt is {colour}.",
                "brand": f"Brand {number % 5}",
                "color": colour if number % 2 else None,
                "category": ["Home", kind],
                "image": f"https://pictures.example/{number}.jpg",
                "price": 1.5 * number,
                "rating": None,
            }
            stream.write(json.dumps(product) + "\n")
    lines = [f'"{query}",{product},{label}' for query, product, label in JUDGED]
    (folder / "judgements.csv").write_text("\n".join(["query,item_id,label", *lines]) + "\n")
    return folder
