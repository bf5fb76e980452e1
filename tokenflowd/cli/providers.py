"""tokenflow providers."""

from __future__ import annotations

import click

from tokenflowd.terminal import visible


@click.command()
@click.option("--models", is_flag=True, help="List each provider's models, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def providers(data_dir: str | None, models: bool, as_json: bool) -> None:
    """Ask every provider whether it is up, and what it serves."""
    from tokenflowd.cli.compress import print_json, working
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    with errors_for_people(), daemon(configuration(data_dir)) as client, working("asking"):
        answer = client.get("/api/providers")
    if as_json:
        print_json(answer)
        return
    for provider in answer:
        mark = click.style("up", fg="green") if provider["up"] else click.style("--", dim=True)
        name, served = provider["name"], len(provider["models"])
        found = f"{served} model{'s' * (served != 1)}, {provider.get('latency_ms', 0):.0f} ms"
        state = visible(provider.get("problem", found).removeprefix(f"{name} "))
        click.echo(f"{mark}  {name:<10}  {provider['base_url']:<34}  {state}")
        if models:
            for model in provider["models"]:
                click.echo(f"      {visible(model)}")
