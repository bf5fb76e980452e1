"""tokenflow history: find requests again, correct them, and look after their file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tokenflowd.config import Config

KINDS = ("compress", "classify", "generate", "select", "chat")


@click.group(invoke_without_command=True)
@click.pass_context
def history(context: click.Context) -> None:
    """Find past requests again. Without a command: the latest."""
    if context.invoked_subcommand is None:
        context.invoke(list_requests)


@history.command("list")
@click.argument("query", default="")
@click.option("-k", "--kind", type=click.Choice(KINDS), default=None)
@click.option("-m", "--model", default="", help="Only those that this model did.")
@click.option("-c", "--category", default="", help="Only those of this category.")
@click.option("--since", default="", help="ISO 8601 date or time in UTC.")
@click.option("-n", "--limit", default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_requests(
    data_dir: str | None,
    query: str,
    kind: str | None,
    model: str,
    category: str,
    since: str,
    limit: int,
    as_json: bool,
) -> None:
    """List requests, newest first; QUERY searches prompts and results."""
    from tokenflowd.cli.compress import print_json
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        page = client.get(
            "/api/history",
            q=query,
            kind=kind or "",
            model=model,
            category=category,
            since=since,
            limit=limit,
        )
    if as_json:
        print_json(page["requests"])
        return
    for row in page["requests"]:
        click.echo(_line(row))
    if not page["requests"]:
        click.echo("nothing found" if query else "the history is empty", err=True)


@history.command()
@click.argument("request_id", metavar="ID")
@click.pass_obj
def show(data_dir: str | None, request_id: str) -> None:
    """Print everything about one request as JSON."""
    from tokenflowd.cli.compress import print_json
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, quoted

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        print_json(client.get(f"/api/history/{quoted(request_id)}"))


@history.command()
@click.argument("request_id", metavar="ID")
@click.pass_obj
def delete(data_dir: str | None, request_id: str) -> None:
    """Forget one request."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, quoted

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        client.delete(f"/api/history/{quoted(request_id)}")


@history.command()
@click.argument("request_id", metavar="ID")
@click.argument("category", required=False)
@click.option("--undo", is_flag=True, help="Take the correction back.")
@click.pass_obj
def relabel(data_dir: str | None, request_id: str, category: str | None, undo: bool) -> None:
    """Say that a request was CATEGORY; it and prompts like it go there from now on."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, quoted

    if undo == (category is not None):
        raise click.UsageError("name a CATEGORY, or --undo")
    path = f"/api/history/{quoted(request_id)}/category"
    with errors_for_people(), daemon(configuration(data_dir)) as client:
        if undo:
            client.delete(path)
        else:
            client.put(path, {"category": category})


@history.command()
@click.pass_obj
def export(data_dir: str | None) -> None:
    """Print the whole history as JSON Lines, oldest first."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with (
        errors_for_people(),
        daemon(configuration(data_dir)) as client,
        client.open("/api/history/export") as lines,
    ):
        shutil.copyfileobj(lines, sys.stdout.buffer)


@history.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def backup(data_dir: str | None, file: Path | None) -> None:
    """Copy the history, checked, to FILE. [default: a dated file in the data directory's backups]

    The daemon may run and write meanwhile.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from tokenflowd.cli.session import configuration, errors_for_people
    from tokenflowd.store import back_up

    with errors_for_people():
        config = configuration(data_dir)
        target = file or _dated_backup(config)
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("copying", total=None)

            def show(copied: int, total: int) -> None:
                step = "checking" if copied == total else "copying"
                bar.update(task, completed=copied, total=total, description=step)

            back_up(config.database, target, show)
    click.echo(target)


@history.command()
@click.pass_obj
def vacuum(data_dir: str | None) -> None:
    """Give back the disk space of what was deleted. Answers wait meanwhile."""
    from tokenflowd.cli.compress import working
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client, working("vacuuming"):
        sizes = client.post("/api/history/vacuum", {})
    before, after = sizes["bytes_before"] / 1e6, sizes["bytes_after"] / 1e6
    click.echo(f"{before:.1f} → {after:.1f} MB: {before - after:.1f} MB given back")


def _dated_backup(config: Config) -> Path:
    from datetime import UTC, datetime

    from tokenflowd.errors import BackupError
    from tokenflowd.files import make_folder

    try:
        make_folder(config.backups_dir)
    except OSError as error:
        raise BackupError(f"{config.backups_dir} cannot be made: {error.strerror}") from error
    return config.backups_dir / f"tokenflow-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.db"


def _line(row: dict[str, Any]) -> str:
    if row["status"] == "error":
        outcome = row["error_type"]
    elif row["kind"] == "compress":
        outcome = f"{row['original_tokens']} → {row['compressed_tokens']}"
    elif "corrected_category" in row:
        outcome = f"→ {row['corrected_category']}"
    elif row["kind"] == "classify":
        outcome = f"{row['category']} {row['confidence']:.2f}"
    else:
        outcome = row["model"].rpartition("/")[2]
    when = row["created_at"][:19].replace("T", " ")
    line = f"{row['id']}  {when}  {row['kind']:<8}  {outcome[:20]:<20}  "
    preview = " ".join(row.get("preview", "").split())
    return line + preview[: max(20, shutil.get_terminal_size().columns - len(line))]
