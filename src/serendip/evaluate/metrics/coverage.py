"""Coverage@k = distinct items shown among the first k / items of the eligible catalogue.

It grows with the number of lists: compare only systems with the same requests.

Standard error: jackknife. Leaving out a user removes the items shown only to this user, so
se^2 = (U - 1) / U * sum over users of (d_u - mean d)^2 / N^2, d_u = items shown only to u.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.metrics.base import ExposureMetric, require_catalogue, shown_items
from serendip.evaluate.runs import Groups


class Coverage(ExposureMetric):
    """Share of the catalogue that is shown to any user."""

    name = "Coverage"

    def of_exposure(
        self, lists: IntArray, groups: Groups, catalogue_size: int
    ) -> tuple[float, float]:
        """Compute the share, in [0, 1], and its jackknife error.

        Raises:
            DataError: more distinct items are shown than the catalogue has.
        """
        items, users = shown_items(lists, groups, self.k)
        num_users = int(groups.max()) + 1
        pairs = np.unique(items.astype(np.int64) * num_users + users)  # distinct (item, user)
        distinct, first, viewers = np.unique(
            pairs // num_users, return_index=True, return_counts=True
        )
        require_catalogue(len(distinct), catalogue_size)
        exclusive = np.bincount(pairs[first[viewers == 1]] % num_users, minlength=num_users)  # d_u
        variance = float(((exclusive - exclusive.mean()) ** 2).sum()) * (num_users - 1) / num_users
        return len(distinct) / catalogue_size, variance**0.5 / catalogue_size
