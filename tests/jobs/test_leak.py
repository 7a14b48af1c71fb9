from dataclasses import replace
from pathlib import Path

from small_shop import write_files

from serendip.data import Item
from serendip.data.splits import temporal
from serendip.engine.workspace import Workspace
from serendip.files.events import read_events
from serendip.files.items import read_items
from serendip.jobs.context import JobContext
from serendip.jobs.evaluate.split import fit_past
from serendip.jobs.surface_quality.answers import ENGINE, answer_baselines, answer_engine

CUT = 0.7


def judged(folder: Path, poison: bool) -> tuple[dict[str, int], dict[tuple[str, str], list[str]]]:
    """Judge one cut of a stored shop; with poison, all later love one item and hide the others.

    Returns:
        item -> its count, and (user, system) -> the first answer.
    """
    write_files(folder)
    workspace = Workspace.open(folder)
    items = [*read_items(workspace.settings.items, folder), Item("poison", "The poison tale")]
    events = list(read_events(workspace.settings.events, folder))
    cut = sorted(event.timestamp for event in events)[int(CUT * len(events))]
    if poison:
        late = [event for event in events if event.timestamp >= cut]
        hidden = [replace(event, action="hide", value=None) for event in late]
        loved = [replace(event, item_id="poison", value=5.0) for event in late]
        events = [*events[: len(events) - len(late)], *loved, *hidden]
    with workspace.create_store() as store:
        store.import_all(items, events)
    context = JobContext.open(folder)
    split = temporal(context.dataset, CUT)
    state, _ = fit_past(context, context.dataset, split, folder)
    targets, names = split.targets, state.catalogue.vocabulary.ids
    queries, home = targets.queries(), workspace.settings.all_surfaces()["home"]
    answers = answer_baselines(queries, home, state)
    answers[ENGINE] = answer_engine(queries, home, state)
    # At its first target a user's whole history is the past.
    rows = {user: row for row, user in reversed([*enumerate(targets.users)])}
    first = {
        (user, system): [names[item] for item in lists[row].tolist() if item >= 0]
        for system, lists in answers.items()
        for user, row in rows.items()
    }
    counts = dict(zip(names, state.counts.tolist(), strict=True))
    return {name: count for name, count in counts.items() if count}, first


def test_what_a_report_judges_was_fitted_without_a_row_after_the_cut(tmp_path: Path) -> None:
    honest, other = (judged(tmp_path / str(poison), poison) for poison in (False, True))
    assert len(honest[1]) > 20
    assert honest == other
