"""Labelled pairs by number, with the texts and the users of their requests.

Shapes: Q queries, P pairs, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from serendip.data import BoolArray, Catalogue, FloatArray, IntArray
from serendip.errors import DataError, UnknownItemError
from serendip.jobs.labels.pair_files import ListRequest, Pair, read_lists
from serendip.jobs.relevance.versions import RelevanceTexts
from serendip.models.relevance.user_features import RequestUser
from serendip.runtime.progress import TrainOptions


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTexts:
    """Labelled pairs by number, with the texts of their queries.

    Args:
        names: Q queries, as labels name them.
        texts: Q texts that they stand for.
        vectors: (Q, C) unit vectors of these.
        users: Q users.
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_irrelevant: (P,) labels.
        groups: (P,) int32 pairs whose requests say much the same share one.
        places: (P,) place of the item in its list; NaN = it is from no list.
    """

    names: list[str]
    texts: list[str]
    vectors: FloatArray
    users: list[RequestUser]
    queries: IntArray
    items: IntArray
    is_irrelevant: BoolArray
    groups: IntArray
    places: FloatArray


@dataclass(frozen=True, slots=True)
class AskedRequests:
    """The requests of labelled pairs.

    Args:
        requests: by the words by which labels name them.
        places: pair -> place in its list.
        surface: of the lists; empty = the pairs are of typed texts.
    """

    requests: Mapping[str, ListRequest]
    places: Mapping[Pair, int]
    surface: str = ""

    @classmethod
    def read(cls, lists: Path | None, pairs: Sequence[Pair]) -> Self:
        """Of pairs, by their file of lists; without one they are typed texts.

        Raises:
            DataError: the file is damaged, or pairs are of none of its lists.
        """
        names = dict.fromkeys(query for query, _ in pairs)
        if lists is None:
            return cls({name: ListRequest.of_text(name) for name in names}, {})
        shown = read_lists(lists)
        unknown = [name for name in names if name not in shown.requests]
        if unknown:
            raise DataError(
                f"{len(unknown)} labelled requests are not in {lists}, such as "
                f"{unknown[0][:60]!r}.",
                "Give the file of lists that was labelled.",
            )
        return cls(shown.requests, shown.places, shown.surface)


@dataclass(frozen=True, slots=True, eq=False)
class PairNumberer:
    """Numbers labelled pairs, with the texts and users of their requests.

    Args:
        catalogue: the items.
        reader: encodes texts.
        asked: the requests.
        options: progress.
    """

    catalogue: Catalogue
    reader: RelevanceTexts
    asked: AskedRequests
    options: TrainOptions

    def number(self, pairs: Mapping[Pair, bool]) -> LabelledTexts:
        """Labelled pairs by number.

        Raises:
            UnknownItemError: a labelled item is not in the workspace.
        """
        numbers = self._find_items(pairs)
        names = list(dict.fromkeys(query for query, _ in pairs))
        row_of = {name: row for row, name in enumerate(names)}
        requests = [self.asked.requests[name] for name in names]
        users = list(map(self._find_user, requests))
        texts = [
            request.text or self._newest_title(user)
            for request, user in zip(requests, users, strict=True)
        ]
        rows = np.array([row_of[query] for query, _ in pairs], np.int32)
        group_of: dict[str, int] = {}
        groups = [group_of.setdefault(request.group, len(group_of)) for request in requests]
        places = [self.asked.places.get(pair, np.nan) for pair in pairs]
        return LabelledTexts(
            names,
            texts,
            self.reader.vectors(texts, self.options.progress),
            users,
            rows,
            numbers,
            np.array(list(pairs.values()), np.bool_),
            np.array(groups, np.int32)[rows],
            np.array(places, np.float32),
        )

    def _find_items(self, pairs: Mapping[Pair, bool]) -> IntArray:
        numbers = self.catalogue.vocabulary.numbers([item for _, item in pairs])
        if (numbers < 0).any():
            unknown = [item for (_, item), number in zip(pairs, numbers, strict=True) if number < 0]
            raise UnknownItemError(
                f"{len(unknown)} labels name items that are not in the workspace, such as "
                f"{unknown[0]!r}.",
                "Import the items first.",
            )
        return numbers

    def _find_user(self, request: ListRequest) -> RequestUser:
        past = self.catalogue.vocabulary.numbers(list(request.past))
        return RequestUser(past[past >= 0], request.attributes)

    def _newest_title(self, user: RequestUser) -> str:
        return self.catalogue.title(int(user.items[-1])) if len(user.items) else ""
