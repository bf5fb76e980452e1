"""The command line: `tokenflow` for people and scripts, `tokenflowd` for the daemon.

Commands import what they need when they run, so that --help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tokenflowd import __version__
from tokenflowd.cli.ask import ask
from tokenflowd.cli.classify import classify
from tokenflowd.cli.compress import compress
from tokenflowd.cli.config import config
from tokenflowd.cli.doctor import doctor
from tokenflowd.cli.history import history
from tokenflowd.cli.keys import keys
from tokenflowd.cli.models import models
from tokenflowd.cli.providers import providers
from tokenflowd.cli.service import service
from tokenflowd.terminal import visible


class _Commands(click.Group):
    """Whose errors may quote anything: what a provider said, or the name of a file."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.ClickException as error:
            vars(error).update(message=visible(error.message))  # click's type says that it stays
            raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tokenflow")
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
@click.pass_context
def main(context: click.Context, data_dir: str | None, env_file: Path | None) -> None:
    """Compress and classify prompts, have them answered, and find them again.

    Uses the running daemon (tokenflowd); without one, starts what it needs by itself.
    """
    context.obj = data_dir


for command in (ask, compress, classify, history, models, providers, keys, config, doctor, service):
    main.add_command(command)
