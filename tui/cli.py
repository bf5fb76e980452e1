"""tokenflow-tui: the command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tokenflow_tui.state import State, default_folder


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokenflow", prog_name="tokenflow-tui")
@click.option(
    "--url",
    envvar="TOKENFLOW_URL",
    help="The daemon, or unix:PATH. [default: this machine, PORT or 8000]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where drafts and settings are. [default: TOKENFLOW_HOME]",
)
@click.option("--web", is_flag=True, help="Serve it to the browser, on this machine only.")
@click.option(
    "--web-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="For --web."
)
def tui(url: str | None, data_dir: Path | None, web: bool, web_port: int) -> None:
    """Ask, compress, and see what was saved, in the terminal."""
    address = url or f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
    folder = data_dir or default_folder()
    if web:
        from tokenflow_tui.web import WebServer

        try:
            WebServer(address, folder, web_port).serve()
        except OSError as error:
            raise click.ClickException(f"port {web_port}: {error.strerror}") from None
        return
    from tokenflow_tui.app import TokenFlowApp

    TokenFlowApp(address, State(folder)).run()
