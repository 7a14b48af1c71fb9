"""MovieLens films with texts and posters: their vectors, and the genre similarity of groups.

``movielens-small`` contains ``items.jsonl`` and ``ratings.csv``, ``movielens-posters`` an archive
of images named by film id, which are unpacked into a cache folder only.

Shapes: N films, D dimensions, G genres.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from serendip.content.fusion import TEXT, TEXT_ONLY, Fusion
from serendip.data import BoolArray, Catalogue, Dataset, FloatArray, IntArray, Item
from serendip.data.items.features import ModalityVectors
from serendip_bench.datasets.movielens import read_rated_films

FILMS, POSTERS = "movielens-small", "movielens-posters"
IMAGE = "image"

WORDS = ("title", "year", "description")
"""Fields that are encoded; not the genres, by which codes are evaluated."""

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class FilmReading:
    """Modalities and fusion of film vectors.

    Args:
        reads: modalities that are not masked.
        is_fused: False = plain text vectors.
        shuffled: permute images among the films that have one, so that they carry no information.
    """

    reads: tuple[str, ...]
    is_fused: bool = True
    shuffled: bool = False


READINGS: Mapping[str, FilmReading] = {
    "text": FilmReading((TEXT,), is_fused=False),
    "text, pca": FilmReading((TEXT,)),
    "image, pca": FilmReading((IMAGE,)),
    "image+text, pca": FilmReading((TEXT, IMAGE)),
    "shuffled image+text, pca": FilmReading((TEXT, IMAGE), shuffled=True),
}


def read_films(folder: Path, posters: Mapping[str, str]) -> Dataset:
    """Read films and all their ratings by time; every rating is an event.

    Args:
        folder: with ``items.jsonl`` and ``ratings.csv``.
        posters: film id -> path of its image, stored as the attribute ``image``.
    """
    films = read_rated_films(folder)
    catalogue = Catalogue(_with_poster(film, posters) for film in films.catalogue.items)
    return replace(films, catalogue=catalogue)


def _with_poster(film: Item, posters: Mapping[str, str]) -> Item:
    attributes = {**film.attributes, IMAGE: posters.get(film.item_id, "")}
    return replace(film, attributes=attributes)


def unpack_posters(archive: Path, folder: Path) -> dict[str, str]:
    """Unpack images that the folder lacks; returns film id -> path inside ``folder``.

    Only the last part of a name in the archive is used, so no file is written outside the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    with zipfile.ZipFile(archive) as stored:
        for member in stored.infolist():
            name = PurePosixPath(member.filename).name
            if member.is_dir() or not name.endswith(".jpg"):
                continue
            path = folder / name
            if not path.exists() or path.stat().st_size != member.file_size:
                path.write_bytes(stored.read(member))
            names[path.stem] = name
    return names


def build_film_vectors(
    encoded: Mapping[str, ModalityVectors], reading: FilmReading, train_nums: IntArray, seed: int
) -> FloatArray:
    """Unit vectors (N, D) of all films; zero for films without any of the modalities.

    Args:
        encoded: text and image vectors of the N films.
        reading: modalities and fusion.
        train_nums: numbers of the films that the fusion is fitted on.
        seed: of the permutation.
    """
    if not reading.is_fused:
        return TEXT_ONLY.encode(encoded)
    masked = {
        name: ModalityVectors(encoding.vectors, encoding.present & (name in reading.reads))
        for name, encoding in encoded.items()
    }
    if reading.shuffled:
        masked[IMAGE] = _permute(masked[IMAGE], seed)
    training = {
        name: ModalityVectors(encoding.vectors[train_nums], encoding.present[train_nums])
        for name, encoding in masked.items()
    }
    return Fusion.fit(training).encode(masked)


def _permute(images: ModalityVectors, seed: int) -> ModalityVectors:
    rows = np.flatnonzero(images.present)
    vectors = images.vectors.copy()
    vectors[rows] = vectors[np.random.default_rng(seed).permutation(rows)]
    return ModalityVectors(vectors, images.present)


def build_genre_table(catalogue: Catalogue) -> BoolArray:
    """(N, G) genres of the films; all False for a film without a genre."""
    genres_of = []
    for film in catalogue.items:
        genres = film.attributes.get("genres", ())
        names_of_film = genres if isinstance(genres, tuple) else ()
        genres_of.append({word for word in names_of_film if not word.startswith("(")})
    names = sorted(set().union(*genres_of))
    return np.array([[name in genres for name in names] for genres in genres_of], dtype=np.bool_)


def measure_group_genres(genres: BoolArray, groups: IntArray) -> float:
    """Mean Jaccard index of genres between films of the same group, averaged over films.

    Args:
        genres: (N, G), every film with one genre or more.
        groups: (N,) such as level-0 codes; groups of one film are ignored. A single group of all
            films gives the chance level.
    """
    total, count = 0.0, 0
    for group in np.unique(groups):
        members = genres[groups == group].astype(np.float32)
        if len(members) > 1:
            total += float(
                (_compute_jaccard(members, members).sum() - len(members)) / (len(members) - 1)
            )
            count += len(members)
    return total / max(count, 1)


def measure_neighbour_genres(genres: BoolArray, vectors: FloatArray, k: int = NEIGHBOURS) -> float:
    """Mean Jaccard index of genres between films and their k nearest by dot product.

    Args:
        genres: (N, G), every film with one genre or more.
        vectors: (N, D).
        k: below N.
    """
    similarities = vectors @ vectors.T  # (N, N)
    np.fill_diagonal(similarities, -np.inf)
    nearest = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    overlaps = _compute_jaccard(genres.astype(np.float32), genres.astype(np.float32))
    return float(np.take_along_axis(overlaps, nearest, axis=1).mean())


def _compute_jaccard(left: FloatArray, right: FloatArray) -> FloatArray:
    """(N, M) Jaccard index: shared genres / genres of either."""
    shared = left @ right.T  # (N, M)
    union = left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - shared
    return np.asarray(shared / union, dtype=np.float32)
