"""The terminal client. Speaks HTTP to the daemon and imports nothing of it."""


def main() -> None:
    """Says what is coming; the commands of `tokenflow` do its work until then."""
    print("tokenflow-tui is coming. Until then: tokenflow --help")
