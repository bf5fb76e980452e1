"""tokenflow ask."""

from __future__ import annotations

import sys
from typing import Any

import click

from tokenflowd.terminal import visible


def _ratio(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> float | str | None:
    if value is None or value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor auto") from None


@click.command()
@click.argument("prompt", required=False)
@click.option("-m", "--model", help="A model's id, or PROVIDER/MODEL.")
@click.option("--auto", is_flag=True, help="Let the prompt's category decide. [default]")
@click.option("-c", "--category", multiple=True, help="With --auto: a category; repeat it.")
@click.option(
    "--compress",
    metavar="RATIO|auto",
    callback=_ratio,
    help="Keep this share of the tokens of what comes in by a pipe, or of the material in the "
    "prompt; what is asked is kept whole. auto: where it pays.",
)
@click.option("-s", "--system", default="", help="What the model should know first.")
@click.option("-t", "--temperature", type=float, default=0.7, show_default=True)
@click.option("-n", "--max-tokens", type=int, default=2000, show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="The answer only.")
@click.pass_obj
def ask(
    data_dir: str | None,
    prompt: str | None,
    model: str | None,
    auto: bool,
    category: tuple[str, ...],
    compress: float | str | None,
    system: str,
    temperature: float,
    max_tokens: int,
    quiet: bool,
) -> None:
    """Stream a model's answer to PROMPT; what comes in by a pipe goes before it."""
    from tokenflowd.cli.session import configuration, daemon, errors_for_people, events

    if model and auto:
        raise click.UsageError("--model names a model, --auto lets the prompt decide: not both")
    piped = _piped()
    if not prompt and not piped:
        raise click.UsageError("there is no PROMPT, and nothing comes in by a pipe")
    body: dict[str, Any] = {
        "prompt": prompt or piped,
        "attachment": piped if prompt else "",
        "system": system,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "compress": compress,
    }
    if category:
        body["possible_categories"] = list(category)
    if model:
        body["model"] = model
    path = "/api/generate" if model else "/api/models/select"
    notes = sys.stderr.isatty() and not quiet
    with (
        errors_for_people(),
        daemon(configuration(data_dir)) as client,
        client.open(path, data=client.encode(body)) as response,
    ):
        for name, data in events(response):
            _show(name, data, notes=notes)
            if name == "usage":
                _require_text(data)


def _piped() -> str:
    from tokenflowd.cli.compress import read_text

    return "" if sys.stdin.isatty() else read_text(sys.stdin.buffer).strip()


def _show(name: str, data: Any, *, notes: bool) -> None:
    if name == "text_chunk":
        sys.stdout.write(visible(data) if sys.stdout.isatty() else data)
        sys.stdout.flush()
    elif name == "error":
        sys.stdout.flush()
        raise click.ClickException(data["detail"])
    elif name == "metadata" and notes:
        click.secho(visible(_about(data)), err=True, dim=True)
    elif name == "usage":
        if sys.stdout.isatty():
            click.echo()
        if notes:
            click.secho(_summary(data), err=True, dim=True)


def _require_text(usage: dict[str, Any]) -> None:
    """Raises click.ClickException for an answer that has no words."""
    kind, reason = usage["answer_kind"], usage["finish_reason"]
    if kind == "text":
        return
    if kind == "refusal":
        raise click.ClickException(f"the model refused to answer: {usage['refusal']}")
    instead = {"reasoning": ", only reasoning", "tool_calls": ", only tool calls"}.get(kind, "")
    more = ": more with --max-tokens" if reason == "length" else ""
    raise click.ClickException(f"the model sent no answer{instead} (finish reason {reason}{more})")


def _about(metadata: dict[str, Any]) -> str:
    model, provider = metadata.get("served_model"), metadata.get("provider")
    parts = [f"{model} at {provider}" if model else metadata["selected_model"]]
    if "wanted_model" in metadata:
        parts.append(f"instead of {metadata['wanted_model']}")
    parts.append(metadata["route"])
    parts += [
        f"{attempt['provider']}/{attempt['model']}: {attempt['error']}"
        for attempt in metadata.get("attempts", [])
    ]
    if compression := metadata.get("compression"):
        parts.append(
            f"{compression['original_tokens']} → {compression['compressed_tokens']} tokens"
            if compression["compressed"]
            else f"not compressed: {compression['reason']}"
        )
    return " · ".join(parts)


def _summary(usage: dict[str, Any]) -> str:
    parts = [f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"]
    if usage["ttft_ms"] is not None:
        parts.append(f"first after {usage['ttft_ms'] / 1000:.2f} s")
    parts.append(f"{usage['latency_ms'] / 1000:.2f} s")
    if usage["cost_usd"]:
        parts.append(f"${usage['cost_usd']:.6f}")
    if usage["finish_reason"] == "length":
        parts.append("cut off: more with --max-tokens")
    return " · ".join(parts)
