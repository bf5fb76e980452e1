"""tokenflow classify."""

from __future__ import annotations

import sys
from typing import Any

import click

from tokenflowd.terminal import visible


@click.command()
@click.argument("prompt", required=False)
@click.option("-c", "--category", multiple=True, help="A category; repeat it. [default: five]")
@click.option("--multi-label", is_flag=True, help="Score each category by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.pass_obj
def classify(
    data_dir: str | None,
    prompt: str | None,
    category: tuple[str, ...],
    multi_label: bool,
    as_json: bool,
) -> None:
    """Say which category PROMPT (or standard input) belongs to, and which model suits it."""
    from tokenflowd.cli.compress import print_json, read_text, working
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    text = prompt if prompt is not None else read_text(sys.stdin.buffer)
    body: dict[str, Any] = {"prompt": text, "multi_label": multi_label}
    if category:
        body["possible_categories"] = list(category)
    with errors_for_people(), daemon(configuration(data_dir)) as client, working("classifying"):
        answer = client.post("/api/classify", body)
    if as_json:
        print_json(answer)
        return
    width = max(map(len, answer["all_categories"]))
    for name, score in answer["all_categories"].items():
        click.echo(f"{visible(name):<{width}}  {score:6.1%}  {'█' * round(score * 30)}")
    click.echo(f"\nrecommended model: {visible(answer['recommended_model'])}")
