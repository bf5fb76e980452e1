"""The app in the browser: textual-serve, on this machine and for its own page only."""

from __future__ import annotations

import hmac
import secrets
import shlex
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

HOST = "127.0.0.1"


class WebServer(Server):
    """Runs this same program once for each page that is open."""

    def __init__(self, url: str, folder: Path, port: int) -> None:
        # -P: no module of the current directory is taken for one of ours.
        program = [sys.executable, "-P", "-m", "tokenflow_tui"]
        program += ["--url", url, "--data-dir", str(folder)]
        super().__init__(shlex.join(program), HOST, port, title="TokenFlow")
        # Whoever can use this machine can reach the port; only its owner is told this.
        self._token = secrets.token_urlsafe(32)
        # Cookies know no ports: each server on this machine has one of its own.
        self._cookie = f"tokenflow-web-{port}"

    @property
    def address(self) -> str:
        """What the owner opens: with the token, which becomes a cookie."""
        return f"{self.public_url}/?token={self._token}"

    def serve(self, debug: bool = False) -> None:
        """Until it is interrupted. Raises OSError."""
        web.run_app(
            self._make_app(),
            host=self.host,
            port=self.port,
            shutdown_timeout=1,  # pages that are open would be waited for
            print=lambda _: print(f"TokenFlow is at {self.address} (ctrl+c ends it)", flush=True),
        )

    async def on_startup(self, app: web.Application) -> None:
        """Says nothing before the port is ours."""

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(self._set_policy)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Other sites may not: a browser would open a socket to this machine for any of them."""
        if request.headers.get("Origin", self.public_url) != self.public_url or (
            request.host != f"{HOST}:{self.port}"
        ):
            raise web.HTTPForbidden(text=f"Open {self.public_url}\n")
        if self._is_token(request.cookies.get(self._cookie, "")):
            return await handler(request)
        if request.path == "/" and self._is_token(request.query.get("token", "")):
            # Elsewhere at once, so that neither a bookmark nor a picture has the token.
            response = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="Lax")
            return response
        raise web.HTTPForbidden(text="Open the address that tokenflow-tui --web has printed\n")

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    async def _set_policy(self, request: web.Request, response: web.StreamResponse) -> None:
        """Nor does the page ask others: its template names a font of Google's."""
        response.headers["Content-Security-Policy"] = (
            "default-src 'self' 'unsafe-inline' data:; "
            f"connect-src 'self' ws://{HOST}:{self.port}; frame-ancestors 'none'"
        )
