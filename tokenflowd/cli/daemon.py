"""tokenflowd: the daemon."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenflowd import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from tokenflowd.config import Config
    from tokenflowd.service_manager import Handover

STARTED = time.monotonic()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tokenflowd")
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="HOST:PORT, or unix:PATH: a socket file that only you can open.",
)
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("-p", "--port", type=int, help="Port; 0 takes a free one. [default: 8000]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Where the history, the models and config.toml are. [default: TOKENFLOW_HOME]",
)
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="A .env file that stands above the data directory's own.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="[default: info]",
)
@click.option("--log-file", is_flag=True, help="Log to logs/tokenflowd.log in the data directory.")
@click.option("--offline", is_flag=True, help="Never connect to another machine.")
def main(
    listen: str | None,
    host: str | None,
    port: int | None,
    data_dir: str | None,
    env_file: Path | None,
    log_level: str | None,
    log_file: bool,
    offline: bool,
) -> None:
    """Answer on http://localhost:8000 until interrupted."""
    import asyncio
    import os

    import uvloop

    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.engine.memory import share_one_heap
    from tokenflowd.logs import log_as_configured
    from tokenflowd.offline import refuse_other_machines
    from tokenflowd.service_manager import Handover

    share_one_heap()
    if listen is not None:
        if host is not None or port is not None:
            raise click.UsageError("--listen says what --host and --port say; name only one")
        host, port = _host_and_port(listen)
    given = {
        "host": host,
        "port": port,
        "log_level": log_level,
        "log_file": log_file or None,
        "offline": offline or None,
    }
    flags = {name: value for name, value in given.items() if value is not None}
    with errors_for_people():
        handover = Handover.take(os.environ)
        config = configuration(data_dir, server=flags)
        if listen is not None:
            config = _named_by_listen(config)
        if file := log_as_configured(config):
            click.echo(f"The log is {file}", err=True)
        if config.server.offline:
            refuse_other_machines()
        # Offline, no connection may be made past Python's sockets, as uvloop makes them.
        new_loop = asyncio.new_event_loop if config.server.offline else uvloop.new_event_loop
        with (
            _opened(config.server.host, handover) as sockets,
            asyncio.Runner(loop_factory=new_loop) as runner,
        ):
            runner.run(_serve(config, sockets, handover))


def _named_by_listen(config: Config) -> Config:
    """The same, whose host and port come from --listen where they come from a flag."""
    import msgspec

    flags = {"--host", "--port"}
    sources = {
        path: "--listen" if source in flags else source for path, source in config.sources.items()
    }
    return msgspec.structs.replace(config, sources=sources)


def _log_sources(config: Config) -> None:
    import logging

    from tokenflowd.config import changed_settings

    log = logging.getLogger("tokenflowd")
    log.info("the data directory is %s, from %s", config.home, config.home_source)
    for source, names in changed_settings(config).items():
        log.info("%s: from %s", ", ".join(names), source)


def _host_and_port(address: str) -> tuple[str, int | None]:
    from tokenflowd.sockets import UNIX

    if address.startswith(UNIX):
        return address, None
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal():
        raise click.UsageError(f"--listen takes HOST:PORT or unix:PATH, not {address!r}")
    return host, int(port)


@contextlib.contextmanager
def _opened(host: str, handover: Handover) -> Iterator[Sequence[socket.socket]]:
    """The sockets to answer on, as far as they are no matter of the event loop."""
    from tokenflowd.sockets import socket_file, socket_file_in

    if handover.sockets:
        yield handover.sockets
    elif path := socket_file_in(host):
        with socket_file(path) as listener:
            yield [listener]
    else:
        yield []


def _is_open_to_others(host: str) -> bool:
    """Whether other machines can reach what listens there."""
    import ipaddress

    from tokenflowd.sockets import UNIX

    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.startswith(UNIX)


async def _serve(config: Config, sockets: Sequence[socket.socket], handover: Handover) -> None:
    import asyncio
    import gc
    import logging
    import signal

    from tokenflowd.server import serve
    from tokenflowd.services import Services

    services = Services(config)
    _log_sources(config)
    services.load()
    # What is there now stays: the collector need not go through it again, 20 to 80 ms each time.
    gc.collect()
    gc.freeze()
    stop = asyncio.Event()

    def on_signal() -> None:
        handover.stopping()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)

    if not config.server.token and _is_open_to_others(config.server.host):
        logging.getLogger("tokenflowd").warning(
            "ANYBODY WHO REACHES %s CAN ASK AT YOUR COST AND READ YOUR HISTORY: listen on "
            "127.0.0.1, or set server.token = true in %s",
            config.server.host,
            config.file,
        )

    def on_ready(url: str) -> None:
        services.store.lock.publish(url)
        handover.ready(url)
        logging.getLogger("tokenflowd").info(
            "TokenFlow %s answers on %s, %.2f s after its start",
            __version__,
            url,
            time.monotonic() - STARTED,
        )

    await serve(
        services,
        host=config.server.host,
        port=config.server.port,
        stop=stop,
        on_ready=on_ready,
        sockets=sockets,
    )
