"""``serendip experiment``: starts and stops experiments, and reads them from the event log.

Who is compared: the users who were shown one of the surfaces while the experiment ran, by the
impressions in the log. Without impressions it is those who did something in the four weeks before
it, whether or not they came back: a user who is only seen if they choose something would make every
arm look alike, or the better one larger.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from serendip.data.events.event_table import read_codes
from serendip.data.events.interleaving import read_teams
from serendip.data.store.schema import PACK_ROWS, read_meta, set_meta
from serendip.engine.config.experiments import HOLDOUT, ExperimentConfig
from serendip.engine.config.settings import Settings
from serendip.engine.experiments import EXPERIMENTS_KEY, RUNS, ExperimentRun
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.evaluate.intervals import Estimate
from serendip.evaluate.runs import Values
from serendip.evaluate.sequential import adjust, compare_arms, estimate_mean, sample_ratio_p
from serendip.files.cells import connect

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

BEFORE_S = 28 * 86_400.0  # before the start that users are compared by
LEAST_RATIO_P = 0.001
_COLUMNS = ("user_id", "timestamp", "action", "surface", "session", "request_id", "position")
_LOG = """
CREATE TEMP TABLE told AS
SELECT user_id, arm, request_id, position, action::VARCHAR AS action,
    CASE $per WHEN 'user' THEN 1 ELSE nullif(session, 0) END AS unit,
    timestamp >= since AND timestamp < $end AS is_live, timestamp < $start AS is_before,
    coalesce(list_contains($surfaces, surface), false) AS is_shown,
    action::VARCHAR = $metric AND (coalesce(surface, '') = '' OR is_shown) AS is_counted
FROM (
    FROM log UNION ALL BY NAME SELECT NULL::VARCHAR AS surface, NULL::BIGINT AS session,
        NULL::VARCHAR AS request_id, NULL::INTEGER AS position WHERE false
) JOIN placed USING (user_id)
WHERE timestamp >= $first AND NOT starts_with(coalesce(request_id, ''), 'merged-')
"""
_USERS = """
SELECT arm, count(*) FILTER (is_live AND is_shown AND list_contains($ignore, action)) AS seen,
    count(*) FILTER (is_before) AS earlier,
    count(*) FILTER (is_live AND list_contains($negative, action))::DOUBLE AS rejections,
    count(DISTINCT unit) FILTER (is_live) AS units,
    count(*) FILTER (is_live AND is_counted) / greatest(units, 1) AS metric,
    count(*) FILTER (is_before AND is_counted)
        / greatest(count(DISTINCT unit) FILTER (is_before), 1) AS metric_before
FROM told GROUP BY user_id, arm
"""
_CHOICES = """
SELECT user_id, request_id, position FROM told
WHERE is_live AND is_counted AND request_id <> '' AND position IS NOT NULL
"""

Verdict = Literal["better", "worse", "no difference", "go on", "wrong sample ratio"]


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What the log says of one arm; intervals hold at all looks, and for all arms together.

    Args:
        users: compared; interleaved, those who prefer its list.
        mean: of the metric, adjusted by what its users did before; None = not known.
        difference: of its mean and the control's; interleaved, the mean of 1 for users who prefer
            this list and -1 for those who prefer the other one. None = it is the control.
        rejections: difference of the numbers of hides and other negative events of a user.
        verdict: empty = it is the control.
    """

    name: str
    users: int
    mean: float | None = None
    difference: Estimate | None = None
    rejections: Estimate | None = None
    verdict: Verdict | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """What is known of an experiment.

    Args:
        is_changed: whether the settings are others than at the start: it goes on with the arms and
            shares of then, and lists of now.
        seen_by: how the users were found: ``impressions``, ``events before the start``, or those
            who chose something from an interleaved list.
        ratio_p: see ``sample_ratio_p``; None = interleaved.
    """

    run: ExperimentRun
    is_changed: bool
    arms: Sequence[ArmResult]
    seen_by: str = "choices"
    ratio_p: float | None = None


def read_runs(workspace: Workspace) -> tuple[ExperimentRun, ...]:
    """All experiments that were started, stopped ones included."""
    with closing(workspace.open_store()) as store:
        return RUNS.validate_json(store.meta(EXPERIMENTS_KEY) or "[]")


def start(workspace: Workspace, name: str, clock: Callable[[], float] = time.time) -> ExperimentRun:
    """Start an experiment of the settings, or let more users into one that runs.

    Services obey within a second.

    Raises:
        DataError: there is no such experiment; it was stopped, or has other settings than when it
            was started; another one runs on a surface of its.
    """
    config, digest = _find_settings(workspace.settings, name)
    with _change(workspace) as runs:
        run, now = runs.get(name), clock()
        for other in runs.values():
            shared = {*other.config.surfaces} & {*config.surfaces}
            if shared and other is not run and not other.stopped:
                raise DataError(
                    f"experiment {other.name!r} runs on a surface of {name!r}.",
                    f"Stop it first: `serendip experiment stop {other.name}`.",
                )
        if run and (run.stopped or run.digest != digest or config.ramp < run.config.ramp):
            why = "was stopped" if run.stopped else "has other settings than when it was started"
            raise DataError(
                f"experiment {name!r} {why}: what is known of its users would be mixed.",
                f"Stop it if it runs, and give [experiments.{name}] another name.",
            )
        ramps = run.ramps if run else ()
        if not run or config.ramp > run.config.ramp:
            ramps = (*ramps, (now, config.ramp))
        run = runs[name] = ExperimentRun(name=name, config=config, digest=digest, ramps=ramps)
    return run


def stop(workspace: Workspace, name: str, clock: Callable[[], float] = time.time) -> ExperimentRun:
    """Stop an experiment, if it runs: everybody is answered as requested within a second.

    Raises:
        DataError: it was not started.
    """
    with _change(workspace) as runs:
        run = _find_run(runs, name)
        runs[name] = run = run.model_copy(update={"stopped": run.stopped or clock()})
    return run


@contextmanager
def _change(workspace: Workspace) -> Iterator[dict[str, ExperimentRun]]:
    with closing(workspace.open_store()) as store, store.database.write() as connection:
        known = RUNS.validate_json(read_meta(connection, EXPERIMENTS_KEY) or "[]")
        runs = {run.name: run for run in known}
        yield runs
        set_meta(connection, EXPERIMENTS_KEY, RUNS.dump_json((*runs.values(),)).decode())


def _find_settings(settings: Settings, name: str) -> tuple[ExperimentConfig, str]:
    """An experiment of the settings, and a digest of all that users get in it."""
    config, surfaces = settings.experiments.get(name), settings.all_surfaces()
    if config is None:
        known = ", ".join(settings.experiments) or "none"
        hint = f"Write a table [experiments.{name[:80]}] in serendip.toml. There are: {known}."
        raise DataError(f"experiment {name[:80]!r} is not in the settings.", hint)
    used = {surface: surfaces[surface].model_dump(mode="json") for surface in config.all_surfaces}
    told = json.dumps([config.model_dump(mode="json", exclude={"ramp"}), used])
    return config, hashlib.sha256(told.encode()).hexdigest()


def _find_run(runs: Mapping[str, ExperimentRun], name: str) -> ExperimentRun:
    if name not in runs:
        hint = f"Start it: `serendip experiment start {name[:80]}`."
        raise DataError(f"experiment {name[:80]!r} was not started.", hint)
    return runs[name]


def read_result(workspace: Workspace, name: str) -> ExperimentResult:
    """What the log says of an experiment now.

    Raises:
        DataError: it was not started; or sessions are counted, and no event has a ``session_id``.
    """
    runs = {run.name: run for run in read_runs(workspace)}
    run, settings = _find_run(runs, name), workspace.settings
    with closing(workspace.open_store()) as store:
        first = PACK_ROWS.c.newest >= run.started - BEFORE_S
        with store.database.read() as transaction:
            log = store.log.joined(transaction, _COLUMNS, ["request_id"], first)
    is_known = name in settings.experiments
    is_changed = not is_known or _find_settings(settings, name)[1] != run.digest
    with closing(connect()) as connection:
        _tell(connection, run, [other for other in runs.values() if other is not run], log)
        if run.config.interleave:
            return ExperimentResult(run, is_changed, _prefer(run, connection))
        given = {"ignore": [*settings.actions.ignore], "negative": [*settings.actions.negative]}
        users: Mapping[str, Any] = connection.execute(_USERS, given).fetchnumpy()
    has_impressions = bool(users["seen"].any())
    sample = users["seen" if has_impressions else "earlier"] > 0
    arms = _compare(run, {column: values[sample] for column, values in users.items()})
    shares = [arm.share for arm in run.config.arms.values()]
    ratio_p = sample_ratio_p([arm.users for arm in arms], shares)
    if ratio_p < LEAST_RATIO_P:
        arms = [arms[0], *(replace(arm, verdict="wrong sample ratio") for arm in arms[1:])]
    seen_by = "impressions" if has_impressions else "events before the start"
    return ExperimentResult(run, is_changed, arms, seen_by, ratio_p)


def _tell(
    connection: DuckDBPyConnection,
    run: ExperimentRun,
    others: Iterable[ExperimentRun],
    log: pa.Table,
) -> None:
    """Make the table ``told``: the events of users who have an arm, and are held out by no other
    experiment that ran meanwhile.
    """
    import pyarrow as pa

    end, config, names = run.stopped or math.inf, run.config, [*run.config.arms]
    meanwhile = [one for one in others if one.started < end and (one.stopped or end) > run.started]
    placed = [
        {"user_id": user, "arm": names.index(arm), "since": since}
        for user in read_codes(log, "user_id")[1].to_pylist()
        for arm, since in [run.place(user)]
        if arm and not any(other.place(user)[0] == HOLDOUT for other in meanwhile)
    ]
    kinds = {"user_id": pa.string(), "arm": pa.int32(), "since": pa.float64()}
    connection.register("placed", pa.Table.from_pylist(placed, pa.schema(kinds)))
    connection.register("log", log)
    times = {"first": run.started - BEFORE_S, "start": run.started, "end": end}
    counted = {"surfaces": list(config.surfaces), "metric": config.metric, "per": config.per}
    connection.execute(_LOG, times | counted)


def _compare(run: ExperimentRun, users: Mapping[str, Values]) -> list[ArmResult]:
    """Compare arms by columns of the U users of the sample."""
    config, numbers = run.config, users["arm"]
    if config.per == "session" and len(numbers) and not users["units"].any():
        raise DataError(
            f"experiment {run.name!r} counts per session, and no event has a session_id.",
            'Send `session_id` with events, or set per = "user" under another name.',
        )
    columns = adjust(users["metric"], users["metric_before"]), users["rejections"]
    results: list[ArmResult] = []
    for number, name in enumerate(config.arms):
        is_own = numbers == number
        mean = float(columns[0][is_own].mean()) if is_own.any() else None
        result = ArmResult(name, int(is_own.sum()), mean)
        if results:
            tests, is_control = len(config.arms) - 1, numbers == 0
            found = [compare_arms(column[is_control], column[is_own], tests) for column in columns]
            verdict = _judge(found[0], config.smallest_effect * abs(results[0].mean or 0.0))
            result = ArmResult(name, result.users, mean, found[0], found[1], verdict)
        results.append(result)
    return results


def _prefer(run: ExperimentRun, connection: DuckDBPyConnection) -> list[ArmResult]:
    """Which of two interleaved lists users prefer; choices that tell no position count for none."""
    credit = dict[str, int]()
    for user, request_id, position in connection.execute(_CHOICES).fetchall():
        teams = read_teams(request_id)
        if position < len(teams):
            credit[user] = credit.get(user, 0) + 2 * teams[position] - 1
    signs = np.sign([own for own in credit.values() if own], dtype=np.float64)
    (control, treatment), found = run.config.arms, estimate_mean(signs)
    second = ArmResult(treatment, int((signs > 0).sum()), difference=found)
    first = ArmResult(control, len(signs) - second.users)
    return [first, replace(second, verdict=_judge(found, 0.0))]


def _judge(difference: Estimate, smallest: float) -> Verdict:
    low, high = difference.low, difference.high
    if low is None or high is None:
        return "go on"
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "no difference" if max(-low, high) < smallest else "go on"
