"""``serendip serve``: serves the HTTP API and the page of a workspace.

The engine is imported and opened after the socket listens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serendip.cli.terminal import Terminal, WorkspaceOption
from serendip.errors import ConfigError
from serendip.runtime.extras import of_extra

if TYPE_CHECKING:
    from serendip.config import ConfigT
    from serendip.data.store.tables.api_keys import ApiKeys
    from serendip.engine.artefacts.training_record import TrainingRecord
    from serendip.engine.engine import Engine
    from serendip.engine.workspace import Workspace
    from serendip.serve.engine_holder import PublishedGenerations
    from serendip.serve.server_options import ServerOptions


def run(
    workspace: WorkspaceOption = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8080,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer, one per core at most.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="What answers: local = processes of this machine, ray = replicas of Ray Serve. "
            "`[engine]` of the settings is for jobs, and not read."
        ),
    ] = "local",
    address: Annotated[
        str,
        typer.Option(
            help="With --engine ray: the cluster, such as auto; empty = one of this machine alone."
        ),
    ] = "",
    replicas: Annotated[
        int,
        typer.Option(min=1, help="With --engine ray: processes that answer, or the fewest."),
    ] = 2,
) -> None:
    """Serve the API and the page, to others once there are keys."""
    if (engine, address) == ("local", ""):
        return serve_workspace(workspace, host, port, Terminal().say, workers)
    from serendip.config import validate
    from serendip.runtime.executor import ExecutorConfig

    validate(ExecutorConfig, {"name": engine, "address": address}, "--engine")
    serve_on_ray(workspace, host, port, Terminal().say, replicas, address)


def serve_assistant(workspace: WorkspaceOption = Path()) -> None:
    """Answer the tools of an assistant over standard input and output (Model Context Protocol).

    Whoever starts it sees answers made from the history of any user.
    """
    open_server_options(workspace, "", 0)  # sets up the logs, which are on standard error
    with of_extra("mcp", "the Model Context Protocol"):
        from serendip.serve.mcp_server import serve
    from serendip.serve.engine_holder import EngineHolder

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the SDK waits for a line before it ends
    with EngineHolder(_published_in(workspace)) as holder:
        holder.check(time.monotonic())
        with holder.watching():
            asyncio.run(serve(holder))


# As in ``engine.workspace``, which would take too long to import before the socket listens.
_SECRET_FILE = "sessions.secret"
_SETTINGS_FILE, _TRAINING_FOLDER = "serendip.toml", "training"


def serve_workspace(
    workspace: Path,
    host: str,
    port: int,
    say: Callable[[str], None],
    workers: int = 1,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the published generation, and later ones once they are published, until interrupted.

    Port 0 is a free one; ``say`` gets lines for people, ``on_ready`` is called once the engine
    answers.

    Raises:
        ConfigError: the folder is not a workspace.
    """
    options = open_server_options(workspace, host, port, workers)
    from serendip.serve.server import serve

    with closing(options.listen()) as listener:
        address = options.format_address(listener)
        say(f"Listening on {address}, loading ...")

        def say_ready() -> None:
            say(f"Ready: {address}   (Ctrl-C stops)")
            on_ready()

        work = partial(serve, _published_in(workspace), options, listener)
        if workers == 1:
            return work(on_ready=say_ready)
        from serendip.serve.shared_state import SharedState
        from serendip.serve.supervisor import Supervisor

        def load() -> None:
            from serendip.engine.engine import load_shared
            from serendip.serve import app  # noqa: F401 - what it imports is shared, too

            load_shared(workspace)

        Supervisor(listener, work, SharedState(workers), load, say_ready).run()


def serve_on_ray(
    workspace: Path, host: str, port: int, say: Callable[[str], None], replicas: int, address: str
) -> None:
    """Serve by replicas on Ray Serve until interrupted.

    Each replica sees the workspace under the same path. Proxies listen at the head of the cluster
    and on each machine with a replica; without a cluster's address, which is one of this machine
    alone, port 0 is a free one.

    Raises:
        ConfigError: the folder is not a workspace, the cluster cannot be used, or only with another
            host or port, others may reach the service and there is no key, or several machines
            would use a database in a file.
        ExtraMissing: Ray Serve is not installed.
    """
    from serendip.engine.workspace import Workspace, WorkspaceLocation
    from serendip.runtime.executor import ExecutorConfig
    from serendip.runtime.executor_factory import secure_ray

    secure_ray(address)
    with of_extra("ray-serve", "Ray Serve"):
        from serendip.runtime.ray_cluster import check_machines, connect
        from serendip.serve.ray_app import serve_until_ended
    folder = workspace.resolve()
    options = open_server_options(folder, host, port)
    location = WorkspaceLocation.of(Workspace.open(folder))
    config = ExecutorConfig(name="ray", address=address, workers=None if address else replicas)
    if address:
        options.check_keys()  # the proxy of a command that was killed may hold the port
        check_machines(config, WorkspaceLocation.open, location)
    else:
        with closing(options.listen()) as listener:  # refused before anything starts
            port = listener.getsockname()[1]
    say(f"Starting {replicas} replicas ...")
    connect(config)

    def say_ready() -> None:
        where = ", at the head of the cluster and each machine with a replica" if address else ""
        say(f"Ready: http://{host}:{port}{where}   (Ctrl-C stops)")

    replica = (location, partial(open_parts, host, port))
    serve_until_ended(replica, replicas, folder, (host, port), say_ready)


def open_parts(host: str, port: int, folder: Path) -> tuple[PublishedGenerations, ServerOptions]:
    """The generations of a workspace, and for whom a replica behind a proxy answers."""
    return _published_in(folder), open_server_options(folder, host, port)


def open_server_options(workspace: Path, host: str, port: int, workers: int = 1) -> ServerOptions:
    """Where a service listens, and for whom, by ``[serve]`` and ``[store]``, the only tables that
    are read here; sets up the logs.
    """
    from serendip.config import Overrides, read_toml, validate
    from serendip.data.store.config import StoreConfig
    from serendip.engine.config.serve import ServeConfig
    from serendip.serve.logs import set_up as set_up_logs
    from serendip.serve.server_options import ServerOptions, read_secret

    settings = workspace / _SETTINGS_FILE
    if not settings.is_file():
        raise ConfigError(
            f"{settings} does not exist.",
            "Give the workspace with -w FOLDER, or create one with `serendip init`.",
        )
    overrides = Overrides.of(os.environ)
    tables = overrides.apply(read_toml(settings))

    def read(name: str, config: type[ConfigT]) -> ConfigT:
        origin = f"{settings}: [{name}]"
        return validate(config, tables.get(name, {}), origin, overrides.table(name))

    config, database = read("serve", ServeConfig), read("store", StoreConfig).place(workspace)
    set_up_logs(config.log_format)

    def open_keys() -> ApiKeys:
        from serendip.data.store.tables.api_keys import ApiKeys

        return ApiKeys.open(database)

    secret, waits = read_secret(workspace / _SECRET_FILE), isinstance(database, str)
    return ServerOptions(host, port, config, open_keys, secret, waits, workers)


def _published_in(workspace: Path) -> PublishedGenerations:
    """The generations of a workspace; the engine is imported once one is opened."""
    from serendip.serve.engine_holder import PublishedGenerations

    @cache
    def opened() -> Workspace:
        from serendip.engine.workspace import Workspace

        return Workspace.open(workspace)

    def open_engine(is_earlier: bool = False) -> Engine:
        from serendip.engine.artefacts.generations import open_current, open_earlier
        from serendip.engine.engine import Engine
        from serendip.engine.workspace import Workspace

        place = Workspace.open(workspace)
        open_version = open_earlier if is_earlier else open_current
        engine = Engine.of_version(place, open_version(place.generations))
        engine.follow_experiments()
        engine.warm_up()  # only then the service says that it is ready
        return engine

    def current() -> str:
        from serendip.engine.artefacts.generations import current_name

        return current_name(opened().generations)

    def last_training() -> TrainingRecord | None:
        from serendip.engine.artefacts.training_record import TrainingRecord

        return TrainingRecord.read(workspace / _TRAINING_FOLDER)

    return PublishedGenerations(open_engine, current, partial(open_engine, True), last_training)
