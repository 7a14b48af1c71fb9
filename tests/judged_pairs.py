"""Small gold: occupations in four families as O*NET writes them, and judged products."""

import csv
import gzip
import json
from pathlib import Path

FAMILIES = {
    "nurse": "care for patients in wards and clinics",
    "welder": "join metal parts with torches and rods",
    "teacher": "instruct pupils in lessons at schools",
    "farmer": "grow crops and raise cattle on fields",
}
RANKS = ("junior", "senior", "chief", "night", "mobile", "rural", "urban", "lead")


def write_onet(folder: Path) -> None:
    """32 occupations, 8 in a family; all of a family are related, one more has no relatives."""
    names = [(family, rank) for family in FAMILIES for rank in RANKS]
    codes = {pair: f"{place:02d}-1000.00" for place, pair in enumerate(names)}
    occupations = [
        {
            "onet_soc_code": codes[family, rank],
            "title": f"{rank} {family}s",
            "description": f"{FAMILIES[family]}, {rank}",
        }
        for family, rank in names
    ]
    other = {"onet_soc_code": "99", "title": "all other workers", "description": "anything else"}
    tiers = ("Primary-Short", "Primary-Long", "Supplemental")
    related = [
        {
            "onet_soc_code": codes[family, rank],
            "related_onet_soc_code": codes[family, other],
            "relatedness_tier": tiers[min(2, abs(RANKS.index(rank) - RANKS.index(other)) // 3)],
        }
        for family, rank in names
        for other in RANKS
        if other != rank
    ]
    tasks = [
        {"onet_soc_code": codes[family, rank], "task": f"{part} {family}"}
        for family, rank in names
        for part in FAMILIES[family].split()
    ]
    reported = [
        {"onet_soc_code": codes[family, rank], "reported_job_title": f"{rank} {family} {level}"}
        for family, rank in names
        for level in ("I", "II")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "occupations.csv.gz", [*occupations, other])
    _write(folder / "related_occupations.csv.gz", related)
    _write(folder / "tasks.csv.gz", tasks)
    _write(folder / "reported_titles.csv.gz", reported)


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_products(folder: Path, queries: int = 20) -> None:
    """Products in kinds; a query asks for a kind, and products of other kinds are irrelevant."""
    kinds = ("lamp", "chair", "kettle", "rug", "clock")
    folder.mkdir(parents=True, exist_ok=True)
    items = [
        {
            "item_id": f"p{place}",
            "title": f"{kinds[place % 5]} number {place}",
            "description": "" if place % 3 else f"a {kinds[place % 5]} for the house",
            "bullet_points": f"made for rooms {place % 4}",
            "brand": f"brand {place % 7}",
            "color": None if place % 2 else "blue",
            "category": ["home", kinds[place % 5]],
        }
        for place in range(60)
    ]
    lines = "".join(json.dumps(item) + "\n" for item in items)
    (folder / "items.jsonl").write_text(lines, encoding="utf-8")
    rows = [
        (f"{kinds[query % 5]} {query}", f"p{item}", "ESCI"[3 * ((item - query) % 5 > 0)])
        for query in range(queries)
        for item in range(query % 3, 60, 3)
    ]
    write_judgements(folder / "judgements.csv", rows)


def write_judgements(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """A file of judgements."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "item_id", "label"))
        writer.writerows(rows)
