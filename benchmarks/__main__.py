"""python -m benchmarks: Markdown on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from benchmarks import classify, compress, daemon, exported, history, stream, tui
from benchmarks.plot import plot
from benchmarks.report import machine

PARTS = {
    "compress": compress.measure,
    "classify": classify.measure,
    "daemon": daemon.measure,
    "stream": stream.measure,
    "history": history.measure,
    "tui": tui.measure,
    "exported-compress": exported.compression,
    "exported-classify": exported.classification,
}


@click.command()
@click.option("--only", type=click.Choice(list(PARTS)), help="Measure one part.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write raw figures.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    help="Draw the figures of exported-compress, which has to be among the parts.",
)
@click.option("--profile", is_flag=True, help="Show where the time of a compression goes instead.")
def main(only: str | None, json_file: Path | None, picture: Path | None, profile: bool) -> None:
    """Measure TokenFlow on this machine, against llmlingua and transformers if they are here."""
    parts = {"profile": compress.profile} if profile else {only: PARTS[only]} if only else PARTS
    facts = machine()
    figures: dict[str, Any] = {"machine": facts}
    try:
        for name, measure in parts.items():
            # Printed tables stay on stdout: they are for a file.
            console = Console(stderr=True)
            with Progress(console=console, transient=True, redirect_stdout=False) as progress:
                table = measure(progress)
            print(table.markdown(facts), flush=True)
            figures[name] = table.figures
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # as shells name an end by SIGINT
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    if picture:
        plot(figures, picture)


if __name__ == "__main__":
    main()
