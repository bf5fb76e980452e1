"""tokenflow models: which there are, and which are in use."""

from __future__ import annotations

from typing import Any

import click


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
        click.echo(f"{star} {model['id']:<{width}}  {about}{shipped}")


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
    from urllib.parse import quote

    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        client.delete(f"/api/models/{quote(model_id, safe='')}")


def _verified(data_dir: str | None, model_ids: Any) -> list[dict[str, Any]]:
    from urllib.parse import quote

    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client:
        wanted = model_ids or [model["id"] for model in client.get("/api/models")]
        return [client.get(f"/api/models/{quote(model_id, safe='')}") for model_id in wanted]
