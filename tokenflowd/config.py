"""One frozen Config: defaults < config.toml < .env < --env-file < environment < flags.

Defaults of single settings stand in the Structs below, those of tables (providers, rankings) in
defaults.toml. config.toml and .env are those of the data directory. Nothing is read from the
current one: whoever wrote a repository that was cloned would decide where prompts and keys go.
"""

from __future__ import annotations

import contextlib
import io
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from dotenv import dotenv_values
from msgspec import Meta, Struct

from tokenflowd.errors import ConfigError
from tokenflowd.files import check_directory, read_file, replace_file

SettingPath = tuple[str, ...]  # its tables and its key, from the outermost on

Mode = Literal["budget", "llmlingua"]
Strategy = Literal["both", "pair", "embedding"]
PreserveKind = Literal[
    "code", "urls", "emails", "paths", "numbers", "identifiers", "keys", "negations"
]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Ratio = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Usd = Annotated[float, Meta(ge=0)]
BaseUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
ProviderName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$")]

PRESERVE_KINDS: tuple[PreserveKind, ...] = (
    "code",
    "urls",
    "emails",
    "paths",
    "numbers",
    "identifiers",
    "keys",
    "negations",
)

# Where the environment stands in the file: name -> tables and key.
ENVIRONMENT: dict[str, SettingPath] = {
    "PORT": ("server", "port"),
    "TOKENFLOW_HOST": ("server", "host"),
    "TOKENFLOW_LOG_LEVEL": ("server", "log_level"),
    "TOKENFLOW_COMPRESSOR": ("models", "compressor"),
    "TOKENFLOW_CLASSIFIER": ("models", "classifier"),
    "GROQ_API_BASE_URL": ("providers", "groq", "base_url"),
    "OPENROUTER_API_BASE_URL": ("providers", "openrouter", "base_url"),
}
_VARIABLES = {path: name for name, path in ENVIRONMENT.items()}


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8000
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    log_file: bool = False
    log_max_bytes: Positive = 10 * 1024 * 1024
    log_backups: Positive = 4
    token: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ("http://localhost:3000", "http://127.0.0.1:3000")
    max_body_bytes: Positive = 8 * 1024 * 1024
    max_media_body_bytes: Positive = 64 * 1024 * 1024
    body_timeout_s: Seconds = 10.0
    max_streams: Positive = 512
    offline: bool = False


class ModelsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    compressor: str = "tokenflow-compressor"
    multilingual: str = "tokenflow-multilingual"
    classifier: str = "tokenflow-classifier"
    embedder: str = "tokenflow-embedder"


class EngineConfig(Struct, frozen=True, forbid_unknown_fields=True):
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    batch_tokens: Positive = 400
    queue_tokens: Positive = 2_000_000


class CompressConfig(Struct, frozen=True, forbid_unknown_fields=True):
    ratio: Ratio = 0.5
    mode: Mode = "budget"
    preserve: tuple[PreserveKind, ...] = PRESERVE_KINDS
    cache_tokens: Annotated[int, Meta(ge=0)] = 2_000_000


class ClassifyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    strategy: Strategy = "both"
    hypothesis_template: str = ""
    descriptions: dict[str, str] = {}


class RankedModel(Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str
    provider: str


class Ranking(Struct, frozen=True, forbid_unknown_fields=True):
    """The models of one category, best first."""

    title: str
    description: str
    models: Annotated[tuple[RankedModel, ...], Meta(min_length=1)]


class RouteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    fallback_model: str = "llama-3.1-8b-instant"
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.25
    corrections: bool = True
    local_model: str = ""
    stand_in: bool = True
    auto_ratio: Ratio = 0.5
    auto_max_delay_s: Annotated[float, Meta(ge=0)] = 1.0
    rankings: dict[str, Ranking] = {}


class ServedModel(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a model at one provider; None where nothing is. Prices are USD for a
    million tokens; `context_tokens` are those that it reads and writes together; `images` and
    `tools` say whether it takes them."""

    input_usd: Usd | None = None
    output_usd: Usd | None = None
    context_tokens: Positive | None = None
    images: bool | None = None
    tools: bool | None = None
    parameters: dict[str, Any] = {}


class ProviderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A server that speaks OpenAI's chat completions. One without `key_variable` needs no key."""

    base_url: BaseUrl
    key_variable: str = ""
    models: dict[str, ServedModel] = {}
    retired: dict[str, str] = {}


class GenerateConfig(Struct, frozen=True, forbid_unknown_fields=True):
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 120.0
    chunk_timeout_s: Seconds = 60.0
    answer_timeout_s: Seconds = 600.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    max_retry_after_s: Annotated[float, Meta(ge=0)] = 10.0


class HistoryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 0


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the TOML file may hold."""

    server: ServerConfig = ServerConfig()
    models: ModelsConfig = ModelsConfig()
    engine: EngineConfig = EngineConfig()
    compress: CompressConfig = CompressConfig()
    classify: ClassifyConfig = ClassifyConfig()
    route: RouteConfig = RouteConfig()
    generate: GenerateConfig = GenerateConfig()
    history: HistoryConfig = HistoryConfig()
    providers: dict[ProviderName, ProviderConfig] = {}


_SECTIONS = Settings.__struct_fields__


class Config(Settings, frozen=True):
    """The settings in force, where they and the data are, and the environment that they were
    read with."""

    home: Path = Path()
    environment: Mapping[str, str] = {}
    # Of each variable that a .env file sets: the file.
    env_files: Mapping[str, str] = {}
    # In words for people, such as "PORT in the environment": what set each setting that is not
    # left to the defaults, and what named the home.
    sources: Mapping[SettingPath, str] = {}
    home_source: str = ""

    @property
    def file(self) -> Path:
        return self.home / "config.toml"

    @property
    def database(self) -> Path:
        return self.home / "tokenflow.db"

    @property
    def env_file(self) -> Path:
        return self.home / ".env"

    @property
    def log_file(self) -> Path:
        return self.home / "logs" / "tokenflowd.log"

    @property
    def secrets(self) -> frozenset[str]:
        """The keys of all providers."""
        variables = (provider.key_variable for provider in self.providers.values())
        keys = (self.environment.get(name, "").strip() for name in variables)
        return frozenset(filter(None, keys))

    @property
    def backups_dir(self) -> Path:
        """Where `tokenflow history backup` puts those that are given no name."""
        return self.home / "backups"

    @property
    def models_dir(self) -> Path:
        """Where exported models live, a folder for each id."""
        return self.home / "models"


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings of one place. `source` tells people what in it set one of them."""

    place: str
    values: Mapping[str, Any]
    source: Callable[[SettingPath], str]


def load_config(
    *,
    home: Path | None = None,
    env_file: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The Config in force. `flags` are sections of settings that stand above all others.

    `home` is, in this order, the argument, TOKENFLOW_HOME of the environment or of `env_file`, the
    user's data directory. Relative paths begin at the current directory. Raises ConfigError, naming
    the file, the variable and the field that is wrong, and UnsafePath.
    """
    given = dict(os.environ if environment is None else environment)
    named = _without(_variables_named(env_file), given) if env_file else {}
    home, home_source = _find_home(home, env_file, named, given)
    check_directory(home)
    toml, own_env_file = home / "config.toml", home / ".env"
    own = _without(_variables_of_home(own_env_file), named, given)

    layers = (
        _Layer(str(toml), _read_toml(toml), lambda path: toml.name),
        _variables_layer(str(own_env_file), own),
        _variables_layer(str(env_file), named),
        _variables_layer("the environment", given),
        _Layer("the command line", flags or {}, lambda path: f"--{path[-1].replace('_', '-')}"),
    )
    settings, merged = default_settings(), _shipped_tables()
    sources: dict[SettingPath, str] = {}
    for layer in layers:
        for section, values in layer.values.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{layer.place}: `{section}` is not a section; write [{section}]")
        merged = _merge(merged, layer.values)
        # Checked layer by layer, so that the error can name the layer at fault.
        settings = _convert(merged, layer.place)
        sources |= {path: layer.source(path) for path in _leaves(layer.values)}
    return Config(
        **{name: getattr(settings, name) for name in _SECTIONS},
        home=home,
        environment={**own, **named, **given},
        env_files=dict.fromkeys(own, str(own_env_file)) | dict.fromkeys(named, str(env_file)),
        sources=sources,
        home_source=home_source,
    )


def changed_settings(config: Config) -> dict[str, list[str]]:
    """The names of the settings that differ from the defaults, by where each comes from."""
    values = {name: msgspec.to_builtins(getattr(config, name)) for name in _SECTIONS}
    defaults = msgspec.to_builtins(default_settings())
    found: dict[str, list[str]] = {}
    for path, source in config.sources.items():
        if _at(values, path) != _at(defaults, path):
            found.setdefault(source, []).append(".".join(path))
    return found


def default_settings() -> Settings:
    """The settings of those who change none."""
    return _convert(_shipped_tables(), "defaults.toml")


def default_toml() -> str:
    """The commented file that `tokenflow config init` writes."""
    return resources.files("tokenflowd").joinpath("config.toml").read_text("utf-8")


def write_setting(file: Path, section: str, key: str, value: str) -> None:
    """Sets one value in the TOML file, whose comments and order stay. Raises ConfigError."""
    import tomlkit

    try:
        text = read_file(file) if file.exists() else ""
        document = tomlkit.parse(text)
        document.setdefault(section, tomlkit.table())[key] = value
        replace_file(file, tomlkit.dumps(document))
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error


def _shipped_tables() -> dict[str, Any]:
    return tomllib.loads(resources.files("tokenflowd").joinpath("defaults.toml").read_text("utf-8"))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`; tables are merged, whatever else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        both_tables = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = _merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return merged


def _leaves(values: Mapping[str, Any], above: SettingPath = ()) -> Iterator[SettingPath]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


def _at(values: Any, path: SettingPath) -> Any:
    """None if there is nothing."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _find_home(
    argument: Path | None, env_file: Path | None, named: Mapping[str, str], given: Mapping[str, str]
) -> tuple[Path, str]:
    """The data directory, and what named it."""
    home, source = argument, "--data-dir"
    for place, variables in (("the environment", given), (str(env_file), named)):
        if home is None and (value := variables.get("TOKENFLOW_HOME")):
            home, source = Path(value), f"TOKENFLOW_HOME in {place}"
    if home is None:
        home, source = platformdirs.user_data_path("tokenflow", appauthor=False), "the default"
    return home.expanduser().absolute(), source


def _without(variables: Mapping[str, str], *above: Mapping[str, str]) -> dict[str, str]:
    """Those that none of the places above sets."""
    return {
        name: value
        for name, value in variables.items()
        if not any(name in others for others in above)
    }


def _variables_of_home(file: Path) -> dict[str, str]:
    with _reading(file):
        try:
            return _parse_variables(read_file(file))
        except FileNotFoundError:
            return {}


def _variables_named(file: Path) -> dict[str, str]:
    """Of a file that the user named, who may well name a link or a pipe."""
    with _reading(file):
        return _parse_variables(file.read_text("utf-8"))


def _parse_variables(text: str) -> dict[str, str]:
    # Without interpolation: no other program's ${TOKEN} becomes part of an address.
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value is not None}


def _read_toml(file: Path) -> dict[str, Any]:
    with _reading(file):
        try:
            return tomllib.loads(read_file(file))
        except FileNotFoundError:
            return {}
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file} is not valid TOML: {error}") from error


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not text in UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def _variables_layer(place: str, variables: Mapping[str, str]) -> _Layer:
    values: dict[str, Any] = {}
    for name, (*tables, key) in ENVIRONMENT.items():
        if value := variables.get(name):
            table = values
            for section in tables:
                table = table.setdefault(section, {})
            table[key] = _setting(place, name, value)
    return _Layer(place, values, lambda path: f"{_VARIABLES[path]} in {place}")


def _setting(place: str, variable: str, value: str) -> str | int:
    if variable == "TOKENFLOW_LOG_LEVEL":
        return value.lower()
    if variable == "PORT":
        try:
            return int(value)
        except ValueError:
            raise ConfigError(f"{place}: PORT is not a number: {value!r}") from None
    return value


def _convert(values: Mapping[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
