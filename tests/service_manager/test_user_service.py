"""tokenflow service, up to the commands of systemd and launchd, which are scripts here."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import BIN, Shell, wait_for_url
from tokenflowd.errors import ServiceManagerError
from tokenflowd.service_manager import DaemonCommand, LaunchAgent, SystemdUnit

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

# Notes what it is told, and knows whether the service runs.
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> "$HOME/calls"
case "$*" in
  "--user is-active "*) test -e "$HOME/running" && echo active ;;
  "--user restart "*) touch "$HOME/running" ;;
  "--user disable --now "*) rm -f "$HOME/running" ;;
esac
"""
LAUNCHCTL = """#!/bin/sh
echo "launchctl $*" >> "$HOME/calls"
case "$1" in
  print) test -e "$HOME/running" && printf 'type = LaunchAgent\\n\\tstate = running\\n' ;;
  bootstrap) test ! -e "$HOME/running" && touch "$HOME/running" ;;
  bootout) rm "$HOME/running" ;;
esac
"""
BROKEN = """#!/bin/sh
echo "Failed to connect to bus:
No medium found" >&2
exit 1
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """With no service manager on its PATH yet, and a blank in every path."""
    home = tmp_path / "a home"
    home.mkdir()
    shell = Shell(home)
    (home / "bin").mkdir()
    shell.environment |= {"HOME": str(home), "PATH": str(home / "bin")}
    for name in ("rm", "touch"):
        (home / "bin" / name).symlink_to(str(shutil.which(name)))
    return shell


def put(shell: Shell, name: str, script: str) -> None:
    file = shell.home / "bin" / name
    file.write_text(script)
    file.chmod(0o755)


def calls(shell: Shell) -> list[str]:
    """Since the last time."""
    file = shell.home / "calls"
    told = file.read_text().splitlines()
    file.unlink()
    return told


def settings_of(unit: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)


@pytest.fixture
def unit(shell: Shell) -> Path:
    return shell.home / ".config" / "systemd" / "user" / "tokenflowd.service"


@on_linux
def test_the_daemon_is_installed_looked_at_and_uninstalled(shell: Shell, unit: Path) -> None:
    put(shell, "systemctl", SYSTEMCTL)
    data = Path(shell.environment["TOKENFLOW_HOME"])
    assert "not installed" in shell.run("tokenflow", "service", "status", ok=False).stdout

    out = shell.run("tokenflow", "service", "install").stdout
    assert out.startswith(f"{unit} was written; the daemon runs\n")
    assert str(data / ".env") in out
    assert calls(shell) == [
        "systemctl --user daemon-reload",
        "systemctl --user enable tokenflowd.service",
        "systemctl --user restart tokenflowd.service",
    ]
    assert stat.S_IMODE(data.stat().st_mode) == 0o700

    out = shell.run("tokenflow", "service", "status").stdout
    assert out.splitlines() == [f"installed  {unit}", "running"]
    (shell.home / "running").unlink()
    assert "not running" in shell.run("tokenflow", "service", "status", ok=False).stdout
    calls(shell)

    (data / "tokenflow.db").touch()
    assert f"{unit} was removed" in shell.run("tokenflow", "service", "uninstall").stdout
    assert calls(shell) == [
        "systemctl --user disable --now tokenflowd.service",
        "systemctl --user daemon-reload",
    ]
    assert not unit.exists()
    assert (data / "tokenflow.db").exists()
    done = shell.run("tokenflow", "service", "uninstall", ok=False)
    assert "no service is installed" in done.stderr


@on_linux
def test_the_unit_starts_the_daemon_and_lets_it_write_its_own_only(
    shell: Shell, unit: Path
) -> None:
    put(shell, "systemctl", SYSTEMCTL)
    data = shell.home / "some data"
    shell.run("tokenflow", "--data-dir", str(data), "service", "install")
    settings = settings_of(unit)
    assert settings["Type"] == "notify"
    assert settings["ReadWritePaths"] == f'"{data}"'
    for name in ("NoNewPrivileges", "PrivateTmp", "LockPersonality", "MemoryDenyWriteExecute"):
        assert settings[name] == "yes"
    assert settings["ProtectSystem"] == "strict"
    assert settings["UMask"] == "0077"
    assert settings["Restart"] == "on-failure"
    program = shlex.split(settings["ExecStart"].removeprefix(":"))
    assert program == [str(BIN / "tokenflowd"), "--data-dir", str(data)]
    shell.environment["TOKENFLOW_HOME"] = str(data)
    process = subprocess.Popen(
        [*program, "--port", "0"], env=shell.environment, cwd=settings["WorkingDirectory"]
    )
    url = wait_for_url(shell)
    out = shell.run("tokenflow", "--data-dir", str(data), "service", "status").stdout
    assert f"running    {url}, process {process.pid}" in out
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


@on_linux
def test_the_unit_stands_where_systemd_looks_for_it(shell: Shell) -> None:
    put(shell, "systemctl", SYSTEMCTL)
    shell.environment["XDG_CONFIG_HOME"] = str(shell.home / "elsewhere")
    shell.run("tokenflow", "service", "install")
    assert (shell.home / "elsewhere" / "systemd" / "user" / "tokenflowd.service").exists()


@on_linux
def test_a_configured_socket_file_can_be_written(shell: Shell, unit: Path) -> None:
    put(shell, "systemctl", SYSTEMCTL)
    run_dir = shell.home / "run"
    shell.environment["TOKENFLOW_HOST"] = f"unix:{run_dir}/tokenflow.sock"
    shell.run("tokenflow", "service", "install")
    assert settings_of(unit)["ReadWritePaths"].endswith(f' "{run_dir}"')


@on_linux
def test_without_systemctl_the_next_step_is_said(shell: Shell, unit: Path) -> None:
    done = shell.run("tokenflow", "service", "install", ok=False)
    assert done.stderr.splitlines() == [
        f"Error: {unit} was written, but systemctl cannot be run (No such file or directory); "
        "when that is mended, run: systemctl --user daemon-reload && systemctl --user enable "
        "tokenflowd.service && systemctl --user restart tokenflowd.service"
    ]
    done = shell.run("tokenflow", "service", "uninstall", ok=False)
    assert f"{unit} was removed, but systemctl cannot be run" in done.stderr
    assert not unit.exists()


@on_linux
def test_what_systemctl_says_is_passed_on(shell: Shell, unit: Path) -> None:
    put(shell, "systemctl", BROKEN)
    done = shell.run("tokenflow", "service", "install", ok=False)
    assert (
        f"{unit} was written, but `systemctl --user daemon-reload` failed (Failed to connect to "
        "bus: No medium found)" in done.stderr
    )


@on_linux
def test_a_daemon_that_was_started_by_hand_is_named(shell: Shell, unit: Path) -> None:
    put(shell, "systemctl", SYSTEMCTL)
    process = shell.start("--port", "0")
    wait_for_url(shell)
    done = shell.run("tokenflow", "service", "install", ok=False)
    assert f"process {process.pid} has" in done.stderr
    assert not unit.exists()
    process.kill()
    process.wait()


def test_systemd_reads_the_unit_as_it_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / 'per%h cent "quoted" $HOME back\\slash'
    program = tmp_path / "50% of $HOME" / "tokenflowd"
    for path in (folder, program.parent):
        path.mkdir()
    shutil.copy(str(shutil.which("true")), program)
    unit = tmp_path / "tokenflowd.service"
    unit.write_bytes(SystemdUnit().content(DaemonCommand(program, folder)))
    written = str(folder).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    assert settings_of(unit)["ReadWritePaths"] == f'"{written}"'
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run(
            [analyze, "--user", "verify", str(unit)],
            env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def agent(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> LaunchAgent:
    for name in ("HOME", "PATH"):
        monkeypatch.setenv(name, shell.environment[name])
    return LaunchAgent()


def test_launchd_is_told_the_same(shell: Shell, agent: LaunchAgent) -> None:
    put(shell, "launchctl", LAUNCHCTL)
    daemon = DaemonCommand(Path("/a b/tokenflowd"), shell.home / "data")
    agent.install(daemon)
    domain = f"gui/{os.getuid()}"
    target = f"{domain}/tokenflow.tokenflowd"
    bootstrap = f"launchctl bootstrap {domain} {agent.file}"
    assert calls(shell) == [f"launchctl print {target}", bootstrap]
    assert agent.is_running()
    assert agent.file.parent == shell.home / "Library" / "LaunchAgents"
    written = plistlib.loads(agent.file.read_bytes())
    assert written["Label"] == "tokenflow.tokenflowd"
    assert written["ProgramArguments"] == [
        "/a b/tokenflowd",
        "--data-dir",
        str(daemon.home),
        "--log-file",
    ]
    assert written["RunAtLoad"] is True
    assert written["KeepAlive"] == {"SuccessfulExit": False}
    assert written["Umask"] == 0o077

    calls(shell)
    agent.install(daemon)  # once more, while it runs
    assert calls(shell)[1:] == [f"launchctl bootout {target}", bootstrap]
    agent.uninstall()
    assert calls(shell) == [f"launchctl print {target}", f"launchctl bootout {target}"]
    assert not agent.file.exists()
    assert not agent.is_running()


def test_without_launchctl_the_next_step_is_said(agent: LaunchAgent, shell: Shell) -> None:
    with pytest.raises(ServiceManagerError, match="when that is mended, run: launchctl bootstrap"):
        agent.install(DaemonCommand(Path("/tokenflowd"), shell.home / "data"))
    assert agent.file.exists()
