"""tokenflow doctor: what is there, what is missing, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenflowd.catalog import Catalog, Manifest
    from tokenflowd.config import Config


@click.command()
@click.pass_obj
def doctor(data_dir: str | None) -> None:
    """Check the settings, the models, the history and the daemon. Exit code 1: not well."""
    from tokenflowd.cli.session import configuration, errors_for_people

    well = True
    with errors_for_people():
        for ok, subject, finding in _findings(configuration(data_dir)):
            mark = click.style("ok", fg="green") if ok else click.style("!!", fg="red")
            click.echo(f"{mark}  {subject:<12} {finding}")
            well &= ok
    if not well:
        raise SystemExit(1)


def _findings(config: Config) -> Iterator[tuple[bool, str, str]]:
    from tokenflowd.catalog import Catalog
    from tokenflowd.config import changed_settings
    from tokenflowd.store.lock import owner_of

    exists = config.file.exists()
    hint = "" if exists else " (not there; `tokenflow config init` writes it)"
    yield True, "settings", f"{config.file}{hint}"
    yield True, "directory", f"{config.home}, from {config.home_source}"
    for source, names in changed_settings(config).items():
        yield True, "changed", f"{', '.join(names)}: from {source}"
    yield from _unread_env_file(config)
    catalog = Catalog(config.models_dir)
    yield from _models(config, catalog)
    yield _history(config)
    owner = owner_of(config.home)
    yield (
        True,
        "daemon",
        f"{owner.url or 'starting'}, process {owner.pid}"
        if owner
        else ("not running; `tokenflowd` starts it"),
    )
    yield from _keys(config)


def _unread_env_file(config: Config) -> Iterator[tuple[bool, str, str]]:
    """For those who expect it to be read, as many programs do."""
    from pathlib import Path

    unread = Path(".env").absolute()
    if unread.is_file() and unread != config.env_file:
        yield (
            True,
            "not read",
            f"{unread}; name it with --env-file, or put what is yours into {config.env_file}",
        )


def _keys(config: Config) -> Iterator[tuple[bool, str, str]]:
    from tokenflowd.keys import Keys

    keys = Keys(config)
    for provider in config.providers.values():
        if name := provider.key_variable:
            if source := keys.source(name):
                yield True, "key", f"{name} is set in {source}"
            else:
                why = f" ({keys.problem})" if keys.problem else ""
                yield True, "key", f"{name} is not set{why}"


def _models(config: Config, catalog: Catalog) -> Iterator[tuple[bool, str, str]]:
    from tokenflowd.errors import ModelUnavailable

    active = {
        config.models.multilingual: "multilingual",
        config.models.compressor: "compressor",
        config.models.classifier: "classifier",
        config.models.embedder: "embedder",
    }
    manifests = {manifest.id: manifest for manifest in catalog.manifests()}
    for model_id, role in active.items():
        if model_id and model_id not in manifests:
            try:
                catalog.folder(model_id)
            except ModelUnavailable as error:
                yield False, role, error.detail
    for manifest in manifests.values():
        role = active.get(manifest.id, "installed")
        try:
            size = _verify(catalog, manifest)
        except ModelUnavailable as error:
            yield False, role, error.detail
        else:
            about = f"{manifest.id} {manifest.version}, {manifest.task}"
            yield True, role, f"{about}, {size / 1e6:.1f} MB, verified"


def _verify(catalog: Catalog, manifest: Manifest) -> int:
    """Bytes of the model's files. Raises ModelUnavailable when one is not what it should be."""
    from tokenflowd.catalog.manifest import verified

    folder = catalog.folder(manifest.id)
    return sum(verified(folder, name, manifest).stat().st_size for name in manifest.files)


def _history(config: Config) -> tuple[bool, str, str]:
    from tokenflowd.errors import StoreDegraded
    from tokenflowd.store import History

    if not config.database.exists():
        return True, "history", f"{config.database} (not there yet)"
    try:
        history = History(config.database)
        count = history.count()
        if not history.is_whole():
            return False, "history", f"{config.database} is damaged; move it aside"
    except StoreDegraded as error:
        return False, "history", error.detail
    size = config.database.stat().st_size / 1e6
    return True, "history", f"{config.database}, {count} requests, {size:.1f} MB"
