from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tokenflowd.config import Config, Settings, changed_settings, default_toml, load_config
from tokenflowd.errors import ConfigError


def load(home: Path, toml: str = "", **more: Any) -> Config:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(toml)
    return load_config(home=home, environment=more.pop("environment", {}), **more)


def test_the_commented_file_shows_every_default() -> None:
    settings = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", default_toml())
    shown = tomllib.loads(settings)
    shown["classify"]["descriptions"].pop("example")  # stands for a user's own
    assert msgspec.convert(shown, Settings) == Settings()
    for section, values in msgspec.to_builtins(Settings()).items():
        assert set(values) - {"rankings"} == set(shown.get(section, {}))


def test_the_commented_file_is_a_valid_one(tmp_path: Path) -> None:
    assert load(tmp_path, default_toml()).server == Settings().server


def test_layers_stand_in_their_order(tmp_path: Path) -> None:
    toml = "[server]\nport = 1111\nhost = '::1'\nlog_level = 'error'\n"
    (tmp_path / ".env").write_text("PORT=2222\nTOKENFLOW_HOST=0.0.0.0\n")
    environment = {"PORT": "3333"}
    assert load(tmp_path, toml).server.port == 2222
    named = tmp_path / "named.env"
    named.write_text("PORT=2223\n")
    assert load(tmp_path, toml, env_file=named).server.port == 2223
    config = load(tmp_path, toml, env_file=named, environment=environment)
    assert (config.server.port, config.server.host) == (3333, "0.0.0.0")  # noqa: S104
    assert config.server.log_level == "error"
    config = load(tmp_path, toml, environment=environment, flags={"server": {"port": 4444}})
    assert config.server.port == 4444


def test_the_current_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=2222\nTOKENFLOW_HOME=elsewhere\n")
    (tmp_path / "config.toml").write_text("[server]\nport = 1111\n")
    home = tmp_path / "home"
    config = load_config(environment={"TOKENFLOW_HOME": "home"})
    assert (config.home, config.server.port) == (home, 8000)


def test_each_changed_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    toml = """
    [server]
    port = 1111
    max_streams = 512 # as it is anyway
    [route]
    local_model = "small"
    [providers.office.models."a.b"]
    input_usd = 1.0
    """
    (tmp_path / ".env").write_text("TOKENFLOW_HOST=::1\nGROQ_API_KEY=x\n")
    named = tmp_path / "named.env"
    named.write_text("TOKENFLOW_COMPRESSOR=mine\nOPENROUTER_API_KEY=y\n")
    config = load(
        tmp_path,
        toml + "[providers.office]\nbase_url = 'http://gpu:1/v1'\n",
        env_file=named,
        environment={"GROQ_API_BASE_URL": "http://proxy:1/v1", "OPENROUTER_API_KEY": "z"},
        flags={"server": {"port": 4444, "log_file": True}},
    )
    assert changed_settings(config) == {
        "--port": ["server.port"],
        "config.toml": [
            "route.local_model",
            "providers.office.models.a.b.input_usd",
            "providers.office.base_url",
        ],
        f"TOKENFLOW_HOST in {tmp_path / '.env'}": ["server.host"],
        f"TOKENFLOW_COMPRESSOR in {named}": ["models.compressor"],
        "GROQ_API_BASE_URL in the environment": ["providers.groq.base_url"],
        "--log-file": ["server.log_file"],
    }
    assert config.env_files["GROQ_API_KEY"] == str(tmp_path / ".env")
    assert "OPENROUTER_API_KEY" not in config.env_files
    assert changed_settings(load(tmp_path / "none", environment={})) == {}


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.env cannot be read: No such file"):
        load(tmp_path, env_file=tmp_path / "no.env")


def test_env_files_are_taken_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GROQ_API_KEY=a${HOME}b$HOME\n")
    named = tmp_path / "named.env"
    named.write_text("OPENROUTER_API_KEY=${GROQ_API_KEY}\n")
    config = load(tmp_path, env_file=named, environment={"HOME": "/home/me"})
    assert config.environment["GROQ_API_KEY"] == "a${HOME}b$HOME"
    assert config.environment["OPENROUTER_API_KEY"] == "${GROQ_API_KEY}"
    assert "OPENROUTER_API_KEY" not in os.environ


def test_an_env_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"GROQ_API_KEY=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env is not text in UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[server", "not valid TOML"),
        ("[server]\nport = 'x'", "$.server.port"),
        ("[server]\nport = 70000", "$.server.port"),
        ("[sever]\nport = 1", "sever"),
        ("server = 1", "[server]"),
        ("[compress]\nratio = 0", "$.compress.ratio"),
        ("[compress]\npreserve = ['poems']", "$.compress.preserve"),
        ("[providers.x]\nbase_url = 'ftp://x'", "$.providers[...].base_url"),
        ("[providers.x]\nbase_url = 'http://me:secret@x/v1'", "$.providers[...].base_url"),
        ("[providers.'A B']\nbase_url = 'http://x/v1'", "$.providers"),
        ("[generate]\nretries = -1", "$.generate.retries"),
        ("[route.rankings.a]\ntitle='a'\ndescription='b'\nmodels=[]", "$.route.rankings"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, toml)
    assert says in error.value.detail
    assert "config.toml" in error.value.detail


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PORT is not a number"):
        load(tmp_path, environment={"PORT": "eight thousand"})
    (tmp_path / ".env").write_text("PORT=nine\n")
    with pytest.raises(ConfigError, match=r"/\.env: PORT is not a number"):
        load(tmp_path)


def test_home_comes_from_the_argument_then_the_environment(tmp_path: Path) -> None:
    elsewhere = {"TOKENFLOW_HOME": str(tmp_path / "elsewhere")}
    assert load_config(environment=elsewhere).home == tmp_path / "elsewhere"
    assert load_config(home=tmp_path, environment=elsewhere).home == tmp_path
    assert load_config(home=tmp_path, environment={}).database == tmp_path / "tokenflow.db"
    # A file that the user named may say it, the home's own may not.
    env_file = tmp_path / ".env"
    env_file.write_text(f"TOKENFLOW_HOME={tmp_path / 'third'}\n")
    assert load_config(env_file=env_file, environment={}).home == tmp_path / "third"
    assert load_config(env_file=env_file, environment=elsewhere).home == tmp_path / "elsewhere"
    assert load_config(environment={"TOKENFLOW_HOME": str(tmp_path)}).home == tmp_path


def test_the_older_deployments_addresses_are_taken(tmp_path: Path) -> None:
    config = load(tmp_path, environment={"GROQ_API_BASE_URL": "http://proxy:1/v1"})
    assert config.providers["groq"].base_url == "http://proxy:1/v1"
    assert config.providers["groq"].models  # the rest of the table is as it was
    assert config.providers["openrouter"].base_url == "https://openrouter.ai/api/v1"


def test_a_table_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    toml = """
    [providers.groq.models]
    "openai/gpt-oss-20b" = { input_usd = 9.0 }
    [providers.office]
    base_url = "http://gpu-box.lan:8001/v1"
    """
    providers = load(tmp_path, toml).providers
    model = providers["groq"].models["openai/gpt-oss-20b"]
    assert (model.input_usd, model.output_usd) == (9.0, 0.30)
    assert providers["groq"].key_variable == "GROQ_API_KEY"
    assert list(providers)[-1] == "office"
