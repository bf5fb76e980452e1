"""Running under systemd or launchd: what they hand over, and how they are asked to start us."""

import sys

from tokenflowd.service_manager.handover import Handover
from tokenflowd.service_manager.launchd import LaunchAgent
from tokenflowd.service_manager.systemd import SystemdUnit
from tokenflowd.service_manager.user_service import DaemonCommand, UserService

__all__ = ["DaemonCommand", "Handover", "LaunchAgent", "SystemdUnit", "user_service"]


def user_service() -> UserService:
    """Of this machine's service manager."""
    return LaunchAgent() if sys.platform == "darwin" else SystemdUnit()
