"""Talking to a controller's REST interface from a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Self

import httpx
import typer

from kenpin_wire.errors import ConfigError, KenpinError, LinkError

DEFAULT_SERVER = "http://127.0.0.1:8080"
_POLL_S = 0.1

Server = Annotated[str, typer.Option(envvar="KENPIN_SERVER", help="The controller's address.")]
Token = Annotated[str, typer.Option(envvar="KENPIN_TOKEN", help="Its token, where it has one.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, as the REST interface gave it.")]


class Client:
    """A controller's REST interface. Use it as a context."""

    def __init__(self, server: str, token: str = "") -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        address = server if "://" in server else f"http://{server}"
        try:
            url = httpx.URL(f"{address.rstrip('/')}/api/v1")
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigError(
                f"{server!r} is no address of a controller",
                where="--server",
                remedy=f"Give one like {DEFAULT_SERVER}.",
            )
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """What is there.

        Raises:
            KenpinError: with the server's own words if it refuses.
            LinkError: if it cannot be reached.
        """
        return self._ask("GET", path, params={k: v for k, v in query.items() if v is not None})

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Change something. Raises as `get`."""
        return self._ask("PUT", path, json={k: v for k, v in body.items() if v is not None})

    def post(self, path: str, body: dict[str, Any] | bytes) -> Any:
        """Make something. Raises as `get`."""
        if isinstance(body, bytes):
            return self._ask("POST", path, content=body)
        return self._ask("POST", path, json={k: v for k, v in body.items() if v is not None})

    def poll(self, path: str, until: Callable[[Any], bool], timeout_s: float) -> Any | None:
        """Look again and again until it is as wished; None if that does not come in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            found = self.get(path)
            if until(found):
                return found
            if time.monotonic() > deadline_s:
                return None
            time.sleep(_POLL_S)

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LinkError(
                f"the controller cannot be reached ({error})",
                where=str(self._http.base_url.copy_with(path="/")),
                remedy="Start it with `kenpin serve`, or name another with --server.",
            ) from None
        try:
            answer = response.json()
        except ValueError:
            raise LinkError(
                f"this is no Kenpin controller (HTTP {response.status_code})",
                where=str(response.url),
                remedy="Name it with --server or KENPIN_SERVER.",
            ) from None
        if response.is_success:
            return answer
        said = answer if isinstance(answer, dict) else {}
        raise KenpinError(
            str(said.get("error") or f"HTTP {response.status_code}"),
            where=str(said.get("where", "")),
            remedy=str(said.get("remedy", "")),
        )
