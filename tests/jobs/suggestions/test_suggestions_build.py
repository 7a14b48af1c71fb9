import json
from contextlib import closing
from pathlib import Path

from commands import invoke

from serendip.data.events.event import Event
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext


def test_suggestions_are_built_anew_beside_the_models_that_there_are(stand: Path) -> None:
    code, told = invoke("train", "--only", "suggestions", "-w", str(stand))
    assert code == 0 and told["generation"] == "gen-2"
    folder = stand / "generations" / "gen-2"
    queries = json.loads((folder / "manifest.json").read_text())["queries"]
    assert (queries["by_kind"]["attribute"], queries["category"]) == (3, "genre")


def test_choices_among_similar_items_are_in_the_log_that_is_learned_from(fresh: Path) -> None:
    workspace = Workspace.open(fresh)
    with closing(workspace.open_store()) as store:
        store.put_events([Event("u", "i3", 7.0, request_id="r", surface="similar")])
    assert JobContext(workspace).query_log.similar == {"u": [7.0]}
