"""tokenflow models: which there are, and which are in use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from tokenflowd.terminal import visible


@click.group()
def models() -> None:
    """List, check, switch and remove the models on this machine."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_models(data_dir: str | None, as_json: bool) -> None:
    """List the installed models; a star marks those in use."""
    from tokenflowd.cli.compress import print_json
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        installed = client.get("/api/models")
    if as_json:
        print_json(installed)
        return
    width = max((len(model["id"]) for model in installed), default=0)
    for model in installed:
        star = "*" if model["active"] else " "
        about = f"{model['role']:<10}  {model['bytes'] / 1e6:7.1f} MB  {model['version']}"
        shipped = "" if not model["shipped"] else "  shipped"
        click.echo(visible(f"{star} {model['id']:<{width}}  {about}{shipped}"))


@models.command()
@click.argument("model_id", metavar="ID")
@click.pass_obj
def show(data_dir: str | None, model_id: str) -> None:
    """Print everything about one model as JSON."""
    from tokenflowd.cli.compress import print_json

    print_json(_verified(data_dir, [model_id])[0])


@models.command()
@click.argument("model_ids", metavar="[ID]...", nargs=-1)
@click.pass_obj
def verify(data_dir: str | None, model_ids: tuple[str, ...]) -> None:
    """Compare every file of these models, or of all, with its manifest's sha256."""
    for model in _verified(data_dir, model_ids):
        click.echo(f"{model['id']}: {len(model['files'])} files as they should be")


@models.command()
@click.argument("source", metavar="OWNER/NAME|FOLDER")
@click.option("--id", "model_id", default="", help="[default: from the name]")
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16", "fp32"]),
    default="int8",
    show_default=True,
)
@click.pass_obj
def export(data_dir: str | None, source: str, model_id: str, precision: Any) -> None:
    """Turn an LLMLingua-2 or NLI checkpoint of Hugging Face into a model of this machine."""
    import os

    from tokenflowd.cli.session import configuration, errors_for_people

    # What a hub does not have cannot be looked for, and nobody is told what is exported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with errors_for_people():
        config = configuration(data_dir)
        try:
            from tokenflowd.export import export_model, find_checkpoint

            checkpoint = find_checkpoint(source)  # the hub's client shows its own progress
            with _steps() as progress:
                report = export_model(
                    checkpoint,
                    config.models_dir,
                    model_id=model_id,
                    precision=precision,
                    threads=config.engine.threads or min(4, os.cpu_count() or 1),
                    progress=progress,
                )
        except ImportError as error:
            raise click.ClickException(
                f"{error.name} is not installed: pip install 'tokenflow[export]'"
            ) from None
    _print_report(report)


@contextlib.contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each step, with the time that it took."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def progress(step: str, done: int, of: int) -> None:
            if not bars.tasks or bars.tasks[-1].description != step:
                finish()
                bars.add_task(step, total=of or None)
            bars.update(bars.tasks[-1].id, completed=done)

        def finish() -> None:
            if bars.tasks:
                bars.update(bars.tasks[-1].id, total=1, completed=1)

        yield progress
        finish()


def _print_report(report: Any) -> None:
    kept, count = report.agreement.decisions, report.agreement.count
    click.echo(f"{report.model_id}: {report.scheme}")
    click.echo(
        f"  size      {report.bytes_before / 1e6:9.1f} MB → {report.bytes_after / 1e6:.1f} MB"
    )
    click.echo(
        f"  speed     {report.ms_before:9.1f} ms → {report.ms_after:.1f} ms for 256 tokens "
        f"({report.ms_before / report.ms_after:.1f}x)"
    )
    click.echo(f"  agreement {kept:9.2%} of {count} decisions are those of PyTorch in fp32")
    click.echo(f"  fp32 graph: logits within {report.fp32.difference:.1g} of PyTorch's")
    fastest = max(report.tokens_per_second.values())
    click.echo(f"  at most   {fastest:9,.0f} tokens a second")
    click.echo(f"  took {report.seconds:.0f} s; it is in {report.folder}")
    click.echo(f"Use it with: tokenflow models use {report.model_id}")


@models.command()
@click.argument("model_id", metavar="ID")
@click.pass_obj
def use(data_dir: str | None, model_id: str) -> None:
    """Switch to a model, in the running daemon and from now on."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        used = client.post("/api/models/use", {"id": model_id})
    click.echo(f"{used['id']} is the {used['role']} now")
    if variable := used.get("overruled_by"):
        click.echo(f"{variable} names another one for the next start", err=True)


@models.command()
@click.argument("model_id", metavar="ID")
@click.pass_obj
def remove(data_dir: str | None, model_id: str) -> None:
    """Remove a model that is not in use."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, quoted

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        client.delete(f"/api/models/{quoted(model_id)}")


def _verified(data_dir: str | None, model_ids: Any) -> list[dict[str, Any]]:
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, quoted

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        wanted = model_ids or [model["id"] for model in client.get("/api/models")]
        return [client.get(f"/api/models/{quoted(model_id)}") for model_id in wanted]
