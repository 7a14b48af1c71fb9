"""One replica of a service: the application of a process whose server is somebody else's.

On Ray Serve the proxy of the cluster accepts connections and hands requests to the replicas.
"""

from __future__ import annotations

import time

from serendip.errors import LateError, NotTrainedError
from serendip.serve.access import Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.generation_watch import Follower, PublishedGenerations
from serendip.serve.rate_limits import RateLimits
from serendip.serve.server_options import ServerOptions
from serendip.serve.workers.shared_state import SharedState


class Replica:
    """Answers from the published generation, and from later ones once they are published.

    Args:
        published: the generations to serve.
        options: for whom it answers.
        shared: state of the service.

    Attributes:
        app: the ASGI application.

    Raises:
        SerendipError: no generation could be opened.
    """

    def __init__(
        self, published: PublishedGenerations, options: ServerOptions, shared: SharedState
    ) -> None:
        self._holder = EngineHolder(shared)
        self._follower = Follower(self._holder, published)
        self._follower.begin(time.monotonic())
        self._ring = options.open_ring()
        self._traces = options.open_traces()
        access = Access(self._ring, RateLimits(options.limits.requests_per_minute))
        self.app = build_app(
            *(self._holder, access, options.hosts, options.limits),
            logs_answers=options.logs_answers,
            traces=self._traces,
        )
        self._follower.watch()
        self._ring.watch()

    def check(self) -> None:
        """Whether it should go on, as a worker does: also while writes fail.

        Another replica would have the same disk or database, and could not even begin to answer.

        Raises:
            NotTrainedError: no generation answers.
            LateError: so many requests hang that only another process helps.
        """
        if not self._holder.is_ready:
            raise NotTrainedError("no generation answers.")
        if self._holder.is_hung:
            raise LateError("too many requests hang.")

    def close(self) -> None:
        """End what runs beside the answers, and close the engine."""
        self._follower.close()
        self._holder.close()
        self._ring.close()
        if self._traces is not None:
            self._traces.close()
