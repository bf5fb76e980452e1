"""Server-sent events as they come in from a provider."""

from __future__ import annotations

from tokenflowd.errors import ProviderError

# No event of a chat is near this; one that is would only fill the memory.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventParser:
    """The data of each event in a stream of bytes that may be cut anywhere.

    Follows the WHATWG's HTML standard, 9.2.6: lines end with LF, CR or CRLF, an empty line ends
    an event, comments and fields other than `data` are passed over. Linear in what it is fed.
    """

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []  # the line that has begun, in pieces
        self._data: list[bytes] = []
        self._size = 0
        self._ended_with_cr = False

    def feed(self, received: bytes) -> list[bytes]:
        """The data of the events that are now complete. Raises ProviderError (bad_answer)."""
        if self._ended_with_cr:
            received = received.removeprefix(b"\n")
        self._ended_with_cr = received.endswith(b"\r")
        self._size += len(received)
        if self._size > MAX_EVENT_BYTES:
            raise ProviderError("bad_answer", "sent an event without an end")
        lines = received.splitlines()
        unfinished = lines.pop() if lines and not received.endswith((b"\n", b"\r")) else b""
        if lines:
            lines[0] = b"".join([*self._unfinished, lines[0]])
            self._unfinished = []
        if unfinished:
            self._unfinished.append(unfinished)
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """What the last event holds when the stream ended without the empty line after it."""
        return self._events([b"".join(self._unfinished), b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                start = 6 if line.startswith(b" ", 5) else 5
                self._data.append(line[start:])
            elif not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
                self._size = 0
        return events
