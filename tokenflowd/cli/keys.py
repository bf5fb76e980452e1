"""tokenflow keys: providers' keys in the system's keyring."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tokenflowd.config import Config


@click.group()
def keys() -> None:
    """Keep providers' keys in the system's keyring. No command shows a key."""


@keys.command("set")
@click.argument("variable", metavar="NAME")
@click.pass_obj
def set_key(data_dir: str | None, variable: str) -> None:
    """Store a key, typed unseen or read from standard input, as NAME: such as GROQ_API_KEY.

    A running daemon takes it at its next start.
    """
    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.keys import KEYRING, Keys, store_key

    with errors_for_people():
        config = configuration(data_dir)
        known = _variables(config)
        if variable not in known:
            raise click.ClickException(
                f"no provider takes its key from {variable}; there are {', '.join(known)}"
            )
        store_key(variable, _read_key(variable))
        source = Keys(config).source(variable)
    if source != KEYRING:
        click.echo(f"stored, but the one in {source} stands above it", err=True)


@keys.command("list")
@click.pass_obj
def list_keys(data_dir: str | None) -> None:
    """List the keys that providers take, and where each is set."""
    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.keys import Keys

    with errors_for_people():
        config = configuration(data_dir)
    found = Keys(config)
    for variable in _variables(config):
        click.echo(f"{variable:<20} {found.source(variable) or 'not set'}")
    if found.problem:
        raise click.ClickException(found.problem)


@keys.command()
@click.argument("variable", metavar="NAME")
@click.pass_obj
def delete(data_dir: str | None, variable: str) -> None:
    """Take a key out of the keyring."""
    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.keys import delete_key

    with errors_for_people():
        configuration(data_dir)
        if not delete_key(variable):
            raise click.ClickException(f"the keyring has no {variable}")


def _variables(config: Config) -> list[str]:
    """Each once, in the order of the providers."""
    variables = (provider.key_variable for provider in config.providers.values())
    return list(dict.fromkeys(variable for variable in variables if variable))


def _read_key(variable: str) -> str:
    if sys.stdin.isatty():
        key = click.prompt(variable, hide_input=True, err=True)
    else:
        key = sys.stdin.buffer.read().decode(errors="replace")
    key = key.strip()
    # What an HTTP header can carry; and a whole file that was piped in by mistake is no key.
    if not key or not all("!" <= character <= "~" for character in key):
        raise click.ClickException("that is no key: give one word of ASCII characters")
    return str(key)
