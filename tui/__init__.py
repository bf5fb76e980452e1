"""The terminal client. Speaks HTTP to the daemon and imports nothing of it."""


def main() -> None:
    """tokenflow-tui"""
    from tokenflow_tui.cli import tui

    tui()
