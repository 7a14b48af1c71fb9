import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import serendip, serendip_here
from small_shop import write_files

from serendip.data.events.event import Event
from serendip.data.store.store import Store


def shop_files(folder: Path) -> Path:
    write_files(folder)
    return folder


def toml(folder: Path, old: str, new: str) -> None:
    path = folder / "serendip.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_users_own_files_become_recommendations_in_a_parquet_file(tmp_path: Path) -> None:
    write_files(tmp_path / "files", num_users=12)  # too few for a ranker: see the demo's test
    files = ("--items", "files/items.csv", "--events", "files/events.csv")
    done = serendip_here("init", "-w", "ws", *files, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["mapping"]["items"] == {"item_id": "item_id", "title": "title"}
    assert summary["mapping"]["events"]["value"] == "value"
    assert summary["items"] == 60
    assert {check["status"] for check in summary["checks"]} <= {"PASS", "WARN"}
    settings = tmp_path / "ws" / "serendip.toml"
    assert 'fields = ["title", "genre"]' in settings.read_text()
    settings.write_text(
        settings.read_text().replace("[content]", '[content]\nname = "hashing"')
        + "\n[models.retriever]\nembedding_size = 8\nepochs = 1\n"
    )
    trained = serendip("train", "-w", "ws", "--json", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["generation"] == "gen-1"

    asked = ("--batch", "--surface", "home", "--out", "recs.parquet", "-k", 3, "--json")
    batch = serendip("recommend", "-w", "ws", *asked, cwd=tmp_path)
    assert batch.returncode == 0, batch.stderr
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "recs.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "score", "propensity"]
    assert table.num_rows == 12 * 3 == json.loads(batch.stdout)["rows"]

    one = serendip_here("recommend", "-w", "ws", "--user", "u1", "-k", 2, cwd=tmp_path)
    assert one.stdout.count("\n") == 2
    assert "tale number" in one.stdout


def test_a_training_moves_the_tail_and_rollback_returns_to_the_generation_before(
    stand: Path,
) -> None:
    with closing(Store.open(stand / "serendip.db")) as store:
        store.put_events([Event("u1", "i1", 1.7e9)])
        count, seq = store.log.count(), store.log.position().seq
    assert serendip_here("train", "-w", stand).returncode == 0
    with closing(Store.open(stand / "serendip.db")) as store:
        assert store.pack() == 0
        assert (store.log.count(), store.log.position().seq) == (count, seq)
    assert (stand / "generations" / "CURRENT").read_text() == "gen-2\n"
    back = serendip_here("rollback", "-w", stand, "--json")
    assert json.loads(back.stdout) == {"generation": "gen-1"}
    assert serendip_here("rollback", "-w", stand).returncode == 4


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nimport serendip.cli.main\n"
        "heavy = {'numpy', 'torch', 'faiss', 'duckdb', 'sqlalchemy', 'pydantic', 'scipy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_broken_rows_are_refused_with_their_line_and_change_nothing(tmp_path: Path) -> None:
    folder = shop_files(tmp_path)
    before = json.loads(serendip_here("import", "-w", folder, "--json").stdout)
    (folder / "events.csv").write_text("user_id,item_id,timestamp\nu,i1,1600000000\nu,i2,soon\n")
    done = serendip_here("import", "-w", folder)
    assert done.returncode == 3, done.stderr
    assert "line 3" in done.stderr
    with closing(Store.open(folder / "serendip.db")) as store:
        assert store.log.count() == before["events"]


@pytest.mark.parametrize(
    ("items", "events", "code"),
    [
        ("item_id,title\n", "user_id,item_id,timestamp\n", 3),
        ("item_id,title\na,Only one\n", "user_id,item_id,timestamp\nu,a,1600000000\n", 0),
        ("item_id,title\na,One\nb,Two\n", "user_id,item_id,timestamp\n", 0),
    ],
    ids=["empty catalogue", "one user, one item", "no events"],
)
def test_tiny_worlds_train_or_say_why(tmp_path: Path, items: str, events: str, code: int) -> None:
    folder = shop_files(tmp_path)
    (folder / "items.csv").write_text(items)
    (folder / "events.csv").write_text(events)
    toml(folder, 'fields = ["title", "genre"]', 'fields = ["title"]')
    assert serendip_here("import", "-w", folder).returncode == 0
    done = serendip_here("train", "-w", folder)
    assert done.returncode == code, done.stderr
    if code:
        assert "the catalogue is empty" in done.stderr
    else:
        answer = serendip_here("recommend", "-w", folder, "--json")
        assert json.loads(answer.stdout)["items"]
        assert serendip_here("evaluate", "-w", folder).returncode == 3


def train_and_kill_after(folder: Path, stage: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "serendip", "train", "--rebuild", "-w", os.fspath(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stdout:
            if stage in line:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, stage


def test_kill_9_while_training_leaves_the_published_generation(stand: Path) -> None:
    published = {path.name for path in (stand / "generations").iterdir()}
    for stage in ("snapshot", "train item-knn", "train retriever"):
        train_and_kill_after(stand, stage)
        assert {path.name for path in (stand / "generations").iterdir()} == published
        # Each has removed what the one before had left.
        assert len(list((stand / "training").glob("scratch-*"))) <= 1
        answer = serendip_here("recommend", "-w", stand, "--json")
        assert json.loads(answer.stdout)["generation"] == "gen-1"
    assert serendip_here("train", "--rebuild", "-w", stand).returncode == 0
    assert (stand / "generations" / "CURRENT").read_text() == "gen-2\n"
    assert not list((stand / "training").glob("scratch-*"))


@pytest.mark.parametrize("out", ["/proc/x/y.parquet", "."])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, out: str
) -> None:
    done = serendip_here("recommend", "-w", "nowhere", "--batch", "--out", out, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
