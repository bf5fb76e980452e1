"""tokenflow-tui: the command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tokenflow_tui.state import State, default_folder


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokenflow", prog_name="tokenflow-tui")
@click.option(
    "--url", envvar="TOKENFLOW_URL", help="The daemon. [default: this machine, PORT or 8000]"
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where drafts and settings are. [default: TOKENFLOW_HOME]",
)
def tui(url: str | None, data_dir: Path | None) -> None:
    """Ask, compress, and see what was saved, in the terminal."""
    from tokenflow_tui.app import TokenFlowApp

    address = url or f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    TokenFlowApp(address, State(data_dir or default_folder())).run()
