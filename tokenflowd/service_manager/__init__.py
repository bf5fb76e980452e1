"""Running under systemd or launchd."""

from tokenflowd.service_manager.handover import Handover

__all__ = ["Handover"]
