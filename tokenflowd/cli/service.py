"""tokenflow service: the daemon under the machine's own service manager."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def service() -> None:
    """Have systemd or launchd run the daemon for you."""


@service.command()
@click.pass_obj
def install(data_dir: str | None) -> None:
    """Start the daemon now and at every login."""
    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.errors import AlreadyRunning
    from tokenflowd.service_manager import DaemonCommand, user_service
    from tokenflowd.sockets import socket_file_in
    from tokenflowd.store.lock import owner_of

    with errors_for_people():
        config = configuration(data_dir)
        installed = user_service()
        owner = owner_of(config.home)
        if owner and not installed.is_running():
            raise AlreadyRunning(
                f"process {owner.pid} has {config.home} and is no service; stop it first"
            )
        socket_file = socket_file_in(config.server.host)
        also_writes = (socket_file.parent,) if socket_file else ()
        installed.install(DaemonCommand(_tokenflowd(), config.home, also_writes))
    click.echo(f"{installed.file} was written; the daemon runs")
    click.echo(
        f"Its settings are {config.file}, its keys {config.home / '.env'}: it does not see your "
        "shell's variables"
    )


@service.command()
def uninstall() -> None:
    """Stop the daemon and forget it; what it has stored stays."""
    from tokenflowd.cli.session import errors_for_people
    from tokenflowd.service_manager import user_service

    installed = user_service()
    with errors_for_people():
        installed.uninstall()
    click.echo(f"{installed.file} was removed; the daemon is stopped, its data stay")


@service.command()
@click.pass_obj
def status(data_dir: str | None) -> None:
    """Say what is installed and whether it runs. Exit code 1: it does not."""
    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.service_manager import user_service
    from tokenflowd.store.lock import owner_of

    installed = user_service()
    if not installed.file.exists():
        click.echo("not installed; `tokenflow service install` does it")
        raise SystemExit(1)
    click.echo(f"installed  {installed.file}")
    if not installed.is_running():
        click.echo("not running")
        raise SystemExit(1)
    with errors_for_people():
        owner = owner_of(configuration(data_dir).home)
    click.echo(f"running    {owner.url}, process {owner.pid}" if owner else "running")


def _tokenflowd() -> Path:
    import os
    import shutil
    import sys

    from tokenflowd.errors import ServiceManagerError

    # Beside this program's own Python first: another one on PATH may be of another version.
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    program = shutil.which("tokenflowd", path=os.pathsep.join(folders))
    if program is None:
        raise ServiceManagerError("tokenflowd is neither beside this program's Python nor on PATH")
    return Path(program).absolute()
