"""Who asks."""

from __future__ import annotations

from fastapi import Request


def caller(request: Request) -> str:
    """Until there are users: where it came from."""
    return f"api@{request.client.host}"[:64] if request.client is not None else "api"
