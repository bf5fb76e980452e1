"""The daemon over HTTP: JSON, and answers as server-sent events.

aiohttp is imported when it is first needed: by then the first frame has been painted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tokenflow_tui.launch import LOCAL_HOSTS
from tokenflow_tui.sse import Event, events

if TYPE_CHECKING:
    import aiohttp

# Seconds to a connection, and of silence on one: the daemon fills it with comments every 15 s.
CONNECT_S = 2
SILENCE_S = 120

UNIX = "unix:"  # before a path: the daemon's socket file


class DaemonError(Exception):
    """What the daemon, or nobody, said; `str()` is one sentence for people."""


class Unreachable(DaemonError):
    """No daemon answers there."""


class Daemon:
    """One session for all that the app asks, at a URL or unix:PATH; to be closed when it ends.

    `token` is this machine's daemon's: no other machine is sent it.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        is_here = url.startswith(UNIX) or urlsplit(url).hostname in LOCAL_HOSTS
        self._headers = {"Authorization": f"Bearer {token}"} if token and is_here else {}
        self._socket_file = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        self._base = self.url if self._socket_file is None else "http://localhost"
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, **query: str | int) -> Any:
        """Raises DaemonError, Unreachable."""
        wanted = {name: str(value) for name, value in query.items() if value not in ("", None)}
        return await self._json("GET", path, params=wanted)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Raises DaemonError, Unreachable."""
        return await self._json("POST", path, json=body)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Raises DaemonError, Unreachable."""
        return await self._json("PUT", path, json=body)

    async def delete(self, path: str) -> None:
        """Raises DaemonError, Unreachable."""
        await self._json("DELETE", path)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[Event, None]:
        """The events of an answer; closing the iterator closes the connection, upon which the
        daemon stops the provider, too. Raises DaemonError, Unreachable."""
        from aiohttp import ClientError

        try:
            async with self._opened().post(self._base + path, json=body) as response:
                if response.status >= 400:
                    raise DaemonError(await _complaint(response))
                async for event in events(response.content.iter_any()):
                    yield event
        except (ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_why(error, self.url)) from None
        except ValueError:
            raise DaemonError(f"{self.url} sent something that is no answer of a daemon") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """Made at first use: it belongs to the loop that runs then."""
        if self._session is None:
            from aiohttp import ClientSession, ClientTimeout, UnixConnector

            timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            connector = UnixConnector(self._socket_file) if self._socket_file else None
            self._session = ClientSession(
                timeout=timeout, connector=connector, headers=self._headers
            )
        return self._session

    async def _json(self, method: str, path: str, **more: Any) -> Any:
        from aiohttp import ClientError

        try:
            async with self._opened().request(method, self._base + path, **more) as response:
                if response.status >= 400:
                    raise DaemonError(await _complaint(response))
                return await response.json() if response.status != 204 else None
        except (ClientError, TimeoutError, OSError) as error:
            raise Unreachable(_why(error, self.url)) from None


async def _complaint(response: aiohttp.ClientResponse) -> str:
    try:
        body = await response.json(content_type=None)
        return str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the daemon answered {response.status}"


def _why(error: Exception, url: str) -> str:
    from aiohttp import ClientConnectorError

    if isinstance(error, ClientConnectorError):
        return f"no daemon answers at {url}"
    if isinstance(error, TimeoutError):
        return f"the daemon at {url} does not answer in time"
    return f"the connection to {url} broke off"
