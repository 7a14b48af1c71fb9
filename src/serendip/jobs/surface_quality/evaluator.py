"""Measures all configured surfaces of an engine state on the test part of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serendip.data.arrays import IntArray
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.evaluate.surface_quality import SurfaceFigures, SurfaceRuns, measure_surface
from serendip.jobs.surface_quality.answers import ENGINE, SurfaceAnswers, answer_all, sells
from serendip.jobs.surface_quality.kinds import find_slices
from serendip.jobs.surface_quality.request_builder import SurfaceRequestBuilder, SurfaceRequests
from serendip.jobs.surface_quality.sample import hash_key, sample_requests
from serendip.runtime.progress import Progress

HOME, SURFACES = "home", "surfaces"
"""Name of a surface, and of the step that measures all of them."""

NOTHING = "No event after the cut makes such a request."
BY_LIKENESS = "The list is ordered by likeness: it need not have what is chosen next."

MAX_HOME_REQUESTS = 2_000
"""Largest number of requests of home, that are measured here; the protocol asks all."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceEvaluator:
    """Measures all surfaces of one state.

    Args:
        builder: makes the requests.
        state: answers them; its item numbers are those of the split.
        countries: user -> country; users without one are left out.
    """

    builder: SurfaceRequestBuilder
    state: EngineState
    countries: Mapping[str, str]

    def measure_all(self, home: Mapping[str, IntArray], progress: Progress) -> list[SurfaceFigures]:
        """Figures of every configured surface; a note instead where there is nothing to ask.

        Args:
            home: system -> its lists (T, 10) on the surface ``home``, for all requests of
                ``SurfaceRequestBuilder.build_next_items``.
            progress: of the surfaces.
        """
        surfaces = self.builder.settings.all_surfaces()
        names = progress.track(list(surfaces), SURFACES, len(surfaces))
        return [
            self._measure_home(home) if name == HOME else self._measure(name, surfaces[name])
            for name in names
        ]

    def _measure_home(self, lists: Mapping[str, IntArray]) -> SurfaceFigures:
        requests = self.builder.build_next_items(HOME)
        users = requests.users.tolist()
        rows, _ = sample_requests(users, lambda row: hash_key(users[row], row), MAX_HOME_REQUESTS)
        sampled = {name: table[rows] for name, table in lists.items()}
        return self._estimate(requests.rows(rows.tolist()), SurfaceAnswers(sampled))

    def _measure(self, name: str, surface: SurfaceConfig) -> SurfaceFigures:
        if surface.sponsored is not None and not sells(surface, self.state):
            return SurfaceFigures(
                name,
                "The feed with places for sale.",
                note=f"No item has a bid (attribute {surface.sponsored.bid!r}): nothing can be "
                "sold, and the list is what it would be without places for sale.",
            )
        requests = self.builder.build(name)
        if not len(requests):
            return SurfaceFigures(name, requests.question, note=NOTHING)
        return self._estimate(requests, answer_all(requests, surface, self.state))

    def _estimate(self, requests: SurfaceRequests, answers: SurfaceAnswers) -> SurfaceFigures:
        surface = self.builder.settings.all_surfaces()[requests.surface]
        runs = SurfaceRuns(
            surface=requests.surface,
            question=requests.question,
            relevant=requests.relevant,
            users=requests.users,
            slices=find_slices(
                self.builder.split, requests.queries, requests.relevant, self.countries
            ),
            lists=answers.lists,
            counts=self.state.counts,
            is_new=self.state.new_items.mask,
            histories=[query.history.item_nums for query in requests.queries],
            baselines=[name for name in answers.lists if name != ENGINE and not surface.likeness],
            possible=requests.possible,
            message=answers.message,
            sale=answers.sale,
            note="" if surface.likeness is None else BY_LIKENESS,
        )
        return measure_surface(runs)
