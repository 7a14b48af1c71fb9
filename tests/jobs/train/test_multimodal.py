import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from pictures import bomb
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.items.catalogue import Item
from serendip.engine.artefacts.generations import open_in_force
from serendip.engine.engine import Engine
from serendip.engine.state import EngineState
from serendip.engine.state_parts import open_state
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.jobs.doctor import check_workspace
from serendip.jobs.train.parts.plan import PartInputs, PartPlan
from serendip.jobs.train.train import plan_training


def state_of(folder: Path) -> EngineState:
    return open_state(folder / "generations" / "gen-1")


def test_masks_say_what_each_item_has_and_pictures_make_items_alike(illustrated: Path) -> None:
    features = state_of(illustrated).features
    expected = [[True, number % 3 != 2, number % 2 == 0] for number in range(60)]
    assert features.present.tolist() == expected
    # Content is stored in 8 bits per number.
    np.testing.assert_allclose(np.linalg.norm(features.content, axis=1), 1, rtol=5e-3)

    state = state_of(illustrated)
    _, pictures, _ = state.fusion.columns
    block = state.features.content[:, pictures]
    likeness = block @ block.T
    assert likeness[0, 6] > likeness[0, 1]
    assert likeness[0, 6] > likeness[0, 3]


BAD_FILES = {
    "outside": "../../etc/passwd",
    "missing": "media/none.png",
    "folder": "media",
    "broken": "media/broken.png",
    "bomb": "media/bomb.png",
    "large": "media/large.png",
}


def post_bad_files(folder: Path) -> None:
    """Items whose picture cannot be used, each for another reason, and one with a bad sound."""
    (folder / "media" / "broken.png").write_bytes((folder / "media/0.png").read_bytes()[:90])
    bomb(folder / "media" / "bomb.png", 60_000, 60_000)
    (folder / "media" / "large.png").write_bytes(b"x" * 3_000_000)
    (folder / "media" / "noise.wav").write_bytes(b"noise")
    settings = (folder / "serendip.toml").read_text(encoding="utf-8")
    limited = settings.replace('field = "cover"', 'field = "cover"\nmax_bytes = 2_000_000')
    (folder / "serendip.toml").write_text(limited, encoding="utf-8")
    engine = Engine.open(folder)
    attributes = {name: {"cover": path} for name, path in BAD_FILES.items()}
    attributes["outside"]["sample"] = "media/noise.wav"
    engine.add_items([Item(name, "Bad", attributes=one) for name, one in attributes.items()])
    engine.close()


def test_bad_files_are_named_by_train_and_doctor_and_stop_neither(gallery: Path) -> None:
    post_bad_files(gallery)
    done = CliRunner().invoke(app, ["train", "--workspace", str(gallery), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["media"]
    assert (told["image"]["named"], told["image"]["left_out"]) == (46, 6)
    assert (told["audio"]["named"], told["audio"]["left_out"]) == (31, 1)
    assert told["image"]["examples"][0] == (
        "item 'outside': '../../etc/passwd' is outside the workspace."
    )
    assert "WARNING: image: 6 of 46 files that `cover` names cannot be used" in done.stderr
    assert "item 'outside': '../../etc/passwd' is outside the workspace." in done.stderr
    features = open_state(gallery / "generations" / "gen-2").features
    assert not features.present[60:, 1:].any()
    assert features.present[:60, 1].sum() == 40
    checks = {check["name"]: check for check in check_workspace(Workspace.open(gallery))}
    assert (checks["image files"]["status"], checks["image files"]["count"]) == ("WARN", 6)
    assert "is not audio in a supported format" in checks["audio files"]["examples"][0]


def _plan(context: JobContext) -> dict[str, PartPlan]:
    current = open_in_force(context.workspace.generations)
    return plan_training(PartInputs(context, current), rebuild=False, only="")


def test_a_file_with_another_content_builds_the_models_again(gallery: Path) -> None:
    context = JobContext.open(gallery)
    assert {plan.reason for plan in _plan(context).values()} == {""}
    path = gallery / "media" / "0.png"
    path.write_bytes(path.read_bytes() + b"more")
    found = _plan(JobContext.open(gallery))
    assert found["content"].reason == "files of pictures and sounds changed"
    assert found["models"].reason == "content is built"


SERVE = """
import json, sys
from serendip.cli.main import app
from serendip.content.encoders.text import open_encoder
from serendip.data.items.catalogue import Item
from serendip.data.items.features import TokenReader
from serendip.engine.engine import Engine
from serendip.engine.request import Request
engine = Engine.open(sys.argv[1])
engine.add_items([Item("new", "New", attributes={"cover": "media/1.png"})])
found = engine.search("horror tale"), engine.recommend(Request("home", "u1")), engine.similar("i1")
heavy = [name for name in ("torch", "PIL", "soundfile", "transformers") if name in sys.modules]
print(json.dumps([[len(answer.items) for answer in found], heavy]))
"""


def test_a_service_loads_no_network_and_decodes_nothing(gallery: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(gallery)], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    counts, heavy = json.loads(done.stdout)
    assert all(counts)
    assert heavy == []
