"""Films with words and pictures, and what either says about them.

``movielens-small`` holds ``items.jsonl`` and ``ratings.csv``, ``movielens-posters`` an archive of
pictures named by film id. The pictures are unpacked into a cache and nowhere else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from serendip.content.fusion import TEXT, TEXT_ONLY, Fusion, FusionConfig
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item import Catalogue, Item
from serendip.data.item_features import ModalityVectors
from serendip_bench.datasets.movielens import read_rated_films

FILMS, POSTERS = "movielens-small", "movielens-posters"
IMAGE = "image"

WORDS = ("title", "year", "description")
"""What is encoded of a film; not its genres, which are what codes are judged by."""

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class PosterTable:
    """What vectors of films are made of.

    Args:
        reads: modalities that are not masked.
        method: how they are fused; None = text vectors as they are.
        shuffled: pictures go to other films that have one: the same films have a picture, and it
            says nothing.
    """

    reads: tuple[str, ...]
    method: Literal["pca", "whiten"] | None = None
    shuffled: bool = False


READINGS: Mapping[str, PosterTable] = {
    "text": PosterTable((TEXT,)),
    "text, pca": PosterTable((TEXT,), "pca"),
    "text, whiten": PosterTable((TEXT,), "whiten"),
    "image, pca": PosterTable((IMAGE,), "pca"),
    "image, whiten": PosterTable((IMAGE,), "whiten"),
    "image+text, pca": PosterTable((TEXT, IMAGE), "pca"),
    "image+text, whiten": PosterTable((TEXT, IMAGE), "whiten"),
    "shuffled image+text, pca": PosterTable((TEXT, IMAGE), "pca", shuffled=True),
}


def read_films(folder: Path, posters: Mapping[str, str]) -> Dataset:
    """Films and all their ratings in order of time; every rating is an event.

    Args:
        folder: with ``items.jsonl`` and ``ratings.csv``.
        posters: film id -> path of its picture, which becomes the attribute ``image``.
    """
    films = read_rated_films(folder)
    catalogue = Catalogue(_with_poster(film, posters) for film in films.catalogue.items)
    return replace(films, catalogue=catalogue)


def _with_poster(film: Item, posters: Mapping[str, str]) -> Item:
    attributes = {**film.attributes, IMAGE: posters.get(film.item_id, "")}
    return replace(film, attributes=attributes)


def unpack_posters(archive: Path, folder: Path) -> dict[str, str]:
    """Film id -> path inside ``folder`` of every picture; those that are there are not written.

    Only the last part of a name in the archive is used, so nothing lands outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    with zipfile.ZipFile(archive) as stored:
        for member in stored.infolist():
            name = PurePosixPath(member.filename).name
            if member.is_dir() or not name.endswith(".jpg"):
                continue
            place = folder / name
            if not place.exists() or place.stat().st_size != member.file_size:
                place.write_bytes(stored.read(member))
            found[place.stem] = name
    return found


def film_vectors(
    encoded: Mapping[str, ModalityVectors], reading: PosterTable, known: IntArray, seed: int
) -> FloatArray:
    """Unit vectors (N, D) of all films; zero where a film has nothing of what is read.

    Args:
        encoded: text and image of the N films.
        reading: what of it.
        known: films that the fusion may be fitted on.
        seed: of the shuffling.
    """
    if reading.method is None:
        return TEXT_ONLY.encode(encoded)
    masked = {
        name: ModalityVectors(one.vectors, one.present & (name in reading.reads))
        for name, one in encoded.items()
    }
    if reading.shuffled:
        masked[IMAGE] = _shuffled(masked[IMAGE], seed)
    learned = {
        name: ModalityVectors(one.vectors[known], one.present[known])
        for name, one in masked.items()
    }
    return Fusion.fit(learned, FusionConfig(method=reading.method)).encode(masked)


def _shuffled(encoded: ModalityVectors, seed: int) -> ModalityVectors:
    rows = np.flatnonzero(encoded.present)
    vectors = encoded.vectors.copy()
    vectors[rows] = vectors[np.random.default_rng(seed).permutation(rows)]
    return ModalityVectors(vectors, encoded.present)


def genre_table(catalogue: Catalogue) -> BoolArray:
    """(N, G) which of G genres each film has; no genre is no row of Trues."""
    of_film = []
    for film in catalogue.items:
        genres = film.attributes.get("genres", ())
        words = genres if isinstance(genres, tuple) else ()
        of_film.append({word for word in words if not word.startswith("(")})
    names = sorted(set().union(*of_film))
    return np.array([[name in genres for name in names] for genres in of_film], dtype=np.bool_)


def alike_in_group(genres: BoolArray, groups: IntArray) -> float:
    """Mean over films of the mean Jaccard index of genres with the others of the film's group.

    Args:
        genres: (N, G), every film with one genre or more.
        groups: (N,) such as level-0 codes; films alone in their group are passed over, and with
            one group for all this is what chance gives.
    """
    total, count = 0.0, 0
    for group in np.unique(groups):
        own = genres[groups == group].astype(np.float32)
        if len(own) > 1:
            total += float((_jaccard(own, own).sum() - len(own)) / (len(own) - 1))
            count += len(own)
    return total / max(count, 1)


def alike_to_neighbours(genres: BoolArray, vectors: FloatArray, k: int = NEIGHBOURS) -> float:
    """Mean Jaccard index of genres between films and their k nearest by dot product.

    Args:
        genres: (N, G), every film with one genre or more.
        vectors: (N, D).
        k: below N.
    """
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    found = _jaccard(genres.astype(np.float32), genres.astype(np.float32))
    return float(np.take_along_axis(found, nearest, axis=1).mean())


def _jaccard(one: FloatArray, other: FloatArray) -> FloatArray:
    """(N, M) shared genres / genres of either."""
    shared = one @ other.T
    either = one.sum(axis=1)[:, None] + other.sum(axis=1)[None, :] - shared
    return np.asarray(shared / either, dtype=np.float32)
