"""tokenflow compress."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from tokenflowd.terminal import visible, visible_json


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("-r", "--ratio", type=float, help="Share of the tokens to keep. [default: 0.5]")
@click.option("-t", "--target-tokens", type=int, help="Tokens to keep, instead of a ratio.")
@click.option("-q", "--question", default="", help="Keep what this question needs.")
@click.option("-f", "--force-token", multiple=True, help="Always keep this word or mark.")
@click.option("--keep-digits", is_flag=True, help="Always keep words with digits.")
@click.option("--drop-consecutive", is_flag=True, help="Drop forced words that repeat.")
@click.option(
    "-p",
    "--preserve",
    multiple=True,
    help="Always keep this kind: code, urls, emails, paths, numbers, identifiers, keys, negations.",
)
@click.option("--mode", type=click.Choice(["budget", "llmlingua"]), help="How to choose words.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.option("--words", is_flag=True, help="With --json: every word with its probability.")
@click.pass_obj
def compress(
    data_dir: str | None,
    file: IO[bytes],
    ratio: float | None,
    target_tokens: int | None,
    question: str,
    force_token: tuple[str, ...],
    keep_digits: bool,
    drop_consecutive: bool,
    preserve: tuple[str, ...],
    mode: str | None,
    as_json: bool,
    words: bool,
) -> None:
    """Print FILE (or standard input) with its least needed words left out."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people

    body: dict[str, Any] = {
        "text": read_text(file),
        "ratio": ratio,
        "target_token": target_tokens,
        "question": question,
        "force_tokens": list(force_token),
        "force_reserve_digit": keep_digits,
        "drop_consecutive": drop_consecutive,
        "preserve": list(preserve) or None,
        "mode": mode,
        "return_words": words and as_json,
    }
    with errors_for_people(), daemon(configuration(data_dir)) as client, working("compressing"):
        answer = client.post("/api/compress", body)
    if as_json:
        print_json(answer)
        return
    compressed = answer["compressed_text"]
    if sys.stdout.isatty():
        click.echo(visible(compressed), nl=not compressed.endswith("\n"))
    else:
        sys.stdout.buffer.write(compressed.encode())
    if sys.stderr.isatty():
        click.secho(_summary(answer), err=True, dim=True)


def read_text(file: IO[bytes]) -> str:
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{file.name} is not UTF-8 text (byte {error.start}); convert it first"
        ) from None


def working(what: str) -> Any:
    """A spinner on a terminal's standard error, until the answer is there."""
    from rich.console import Console

    return Console(stderr=True).status(f"{what}…")


def print_json(answer: Any) -> None:
    import json

    click.echo(visible_json(json.dumps(answer, ensure_ascii=False, indent=2)))


def _summary(answer: dict[str, Any]) -> str:
    before, after = answer["original_tokens"], answer["compressed_tokens"]
    share = f", {answer['compression_ratio']:.0%} kept" if before else ""
    forced = "; what must be kept is more than was asked for" if answer["over_budget"] else ""
    return f"{before} → {after} tokens{share}, {answer['latency_ms']:.0f} ms{forced}"
