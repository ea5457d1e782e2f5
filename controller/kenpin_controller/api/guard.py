"""The door: who may come in, and how much they may carry. An ASGI layer around everything that is served.

Users and roles come later (design.md, section 6). Until then: on this machine alone everybody is welcome but
other sites' pages; from elsewhere one shared token is asked for, as a bearer token, or once as `?token=` in a
browser, which keeps it in a cookie.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kenpin_controller.api.problems import problem
from kenpin_controller.operations import MAX_RELEASE_BYTES

MAX_BODY_BYTES = 64 * 1024
MAX_TARGETS_BYTES = 1 << 20
"""Devices take no larger targets metadata either; it names thousands of releases."""
COOKIE = "kenpin_token"
_FORM_BYTES = 4096  # what a multipart form adds to its file
_LIMITS = {"/api/v1/releases": MAX_RELEASE_BYTES + _FORM_BYTES, "/api/v1/trust/targets": MAX_TARGETS_BYTES}
_OPEN = frozenset({"/healthz"})
_PUBLIC = "/api/v1/trust/tuf/"  # signed, and asked for by devices, which have no token
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """See the module's docstring.

    Args:
        token: What must be shown; None if only this machine can reach us.
    """

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith("/api/"):
            await self._with_body(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> ASGIApp | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._token is None:
            host = headers.get("host", "")
            if _name(host) not in _LOCAL:
                return problem(403, "only this machine may ask", where=host, remedy=_NEEDS_TOKEN)
        elif path not in _OPEN and not path.startswith(_PUBLIC) and not self._shown(headers):
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            if self._matches(query.get("token", [""])[0]) and scope["type"] == "http":
                response = RedirectResponse(path, 303)
                response.set_cookie(
                    COOKIE, self._token, httponly=True, samesite="strict", max_age=30 * 86_400
                )
                return response
            response_401 = problem(401, "a token is needed", where=path, remedy=_SHOW_TOKEN)
            response_401.headers["www-authenticate"] = "Bearer"
            return response_401
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            return problem(403, "another site's page may not ask", where=origin)
        return None

    def _shown(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._matches(bearer.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._matches(cookie.value)

    def _matches(self, shown: str) -> bool:
        return self._token is not None and hmac.compare_digest(shown.encode(), self._token.encode())

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the body in before the handler runs, so that too much is refused in one place."""
        limit = _LIMITS.get(scope["path"], MAX_BODY_BYTES)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > limit:
                refusal = problem(413, f"a body of more than {limit} bytes", where=scope["path"])
                await refusal(scope, receive, send)
                return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, replay, send)


def _name(host: str) -> str:
    """A Host header without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


_NEEDS_TOKEN = "Start `kenpin serve` with --token to let other machines in."  # noqa: S105  a sentence, no secret
_SHOW_TOKEN = "Send it as 'Authorization: Bearer ...', or open the page once with ?token=..."  # noqa: S105  likewise
