"""One frozen Config: defaults < TOML file < .env < environment < flags.

Defaults of single settings stand in the Structs below, those of tables (providers, rankings) in
defaults.toml.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from dotenv import dotenv_values
from msgspec import Meta, Struct

from tokenflowd.errors import ConfigError

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
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "PORT": ("server", "port"),
    "TOKENFLOW_HOST": ("server", "host"),
    "TOKENFLOW_LOG_LEVEL": ("server", "log_level"),
    "TOKENFLOW_COMPRESSOR": ("models", "compressor"),
    "TOKENFLOW_CLASSIFIER": ("models", "classifier"),
    "GROQ_API_BASE_URL": ("providers", "groq", "base_url"),
    "OPENROUTER_API_BASE_URL": ("providers", "openrouter", "base_url"),
}


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8000
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    log_file: bool = False
    log_max_bytes: Positive = 10 * 1024 * 1024
    log_backups: Positive = 4
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


class Config(Settings, frozen=True):
    """The settings in force, where they lie, and the environment they were read with."""

    home: Path = Path()
    environment: Mapping[str, str] = {}
    dotenv: frozenset[str] = frozenset()  # the names in it that came from a .env file

    @property
    def file(self) -> Path:
        return self.home / "config.toml"

    @property
    def database(self) -> Path:
        return self.home / "tokenflow.db"

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


def load_config(
    *,
    home: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The Config in force. `flags` are sections of settings that stand above all others.

    `home` is, in this order, the argument, TOKENFLOW_HOME, the user's data directory.
    Raises ConfigError, naming the file, the variable and the field that is wrong.
    """
    given = dict(os.environ if environment is None else environment)
    variables = {**_dotenv(Path(".env")), **given}
    home = (home or _home_from(variables)).expanduser().absolute()
    variables = {**_dotenv(home / ".env"), **variables}

    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("defaults.toml", _shipped_tables()),
        (str(home / "config.toml"), _read_toml(home / "config.toml")),
        ("the environment", _from_environment(variables)),
        ("the command line", flags or {}),
    ]
    merged: dict[str, Any] = {}
    for source, layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{source}: `{section}` is not a section; write [{section}]")
        merged = _merge(merged, layer)
        # Checked layer by layer, so that the error can name the layer at fault.
        settings = _convert(merged, source)
    return Config(
        **{name: getattr(settings, name) for name in Settings.__struct_fields__},
        home=home,
        environment=variables,
        dotenv=frozenset(variables) - frozenset(given),
    )


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
        text = file.read_text("utf-8") if file.exists() else ""
        document = tomlkit.parse(text)
        document.setdefault(section, tomlkit.table())[key] = value
        new = file.with_name(f"{file.name}.new")
        new.touch(mode=0o600)
        new.write_text(tomlkit.dumps(document), "utf-8")
        new.replace(file)
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


def _home_from(variables: Mapping[str, str]) -> Path:
    named = variables.get("TOKENFLOW_HOME")
    return Path(named) if named else platformdirs.user_data_path("tokenflow", appauthor=False)


def _dotenv(path: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (*tables, key) in ENVIRONMENT.items():
        if value := variables.get(name):
            table = found
            for section in tables:
                table = table.setdefault(section, {})
            table[key] = _setting(name, value)
    return found


def _setting(variable: str, value: str) -> str | int:
    if variable == "TOKENFLOW_LOG_LEVEL":
        return value.lower()
    if variable == "PORT":
        try:
            return int(value)
        except ValueError:
            raise ConfigError(f"the environment: PORT is not a number: {value!r}") from None
    return value


def _convert(values: Mapping[str, Any], source: str) -> Settings:
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
