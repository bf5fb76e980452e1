"""tokenflow config: the settings file."""

from __future__ import annotations

import click


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

    with errors_for_people():
        file = configuration(data_dir).file
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    """Print the settings in force, as TOML; those that were changed are marked."""
    import json

    import msgspec

    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.config import Settings

    with errors_for_people():
        config = configuration(data_dir)
    defaults = Settings()
    click.echo(f"# {config.file}{'' if config.file.exists() else ' (not there)'}")
    for section in Settings.__struct_fields__:
        click.echo(f"\n[{section}]")
        values = msgspec.to_builtins(getattr(config, section))
        default = msgspec.to_builtins(getattr(defaults, section))
        for name, value in values.items():
            if isinstance(value, dict):
                _show_table(f"{section}.{name}", value)
                continue
            changed = "" if value == default[name] else "  # changed"
            click.echo(f"{name} = {json.dumps(value, ensure_ascii=False)}{changed}")


def _show_table(name: str, values: dict[str, object]) -> None:
    import json

    if values:
        click.echo(f"\n[{name}]  # changed")
    for key, value in values.items():
        click.echo(f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}")
