"""tokenflow config: the settings file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenflowd.config import SettingPath


@click.group()
def config() -> None:
    """Write and show the settings."""


@config.command()
@click.pass_obj
def init(data_dir: str | None) -> None:
    """Write config.toml with every setting's default as a comment."""
    import os

    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.config import default_toml
    from tokenflowd.files import make_directory

    with errors_for_people():
        file = configuration(data_dir).file
        make_directory(file.parent)
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{file} exists already; it was left as it is") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(default_toml())
    except OSError as error:
        file.unlink()
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None
    click.echo(file)


@config.command()
@click.pass_obj
def show(data_dir: str | None) -> None:
    """Print the settings in force, as TOML; where a changed one comes from stands behind it."""
    import msgspec

    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.config import Settings, default_settings

    with errors_for_people():
        config = configuration(data_dir)
    defaults = msgspec.to_builtins(default_settings())
    click.echo(f"# {config.file}{'' if config.file.exists() else ' (not there)'}")
    click.echo(f"# The data directory is from {config.home_source}.")
    for section in Settings.__struct_fields__:
        values = msgspec.to_builtins(getattr(config, section))
        _show_table((section,), values, defaults[section], config.sources)


def _show_table(
    path: SettingPath,
    values: dict[str, Any],
    defaults: dict[str, Any],
    sources: Mapping[SettingPath, str],
) -> None:
    import tomli_w

    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    if len(tables) < len(values):
        header = tomli_w.dumps(_nested(path))
        click.echo(f"\n{header.splitlines()[-1]}")
    for name, value in values.items():
        if name not in tables and value is not None:
            source = sources.get((*path, name))
            changed = f"  # from {source}" if source and defaults.get(name) != value else ""
            click.echo(tomli_w.dumps({name: value}).rstrip() + changed)
    for name, value in tables.items():
        below = defaults.get(name)
        _show_table((*path, name), value, below if isinstance(below, dict) else {}, sources)


def _nested(path: SettingPath) -> dict[str, Any]:
    """Tables in tables, the innermost empty."""
    first, *rest = path
    return {first: _nested(tuple(rest)) if rest else {}}
