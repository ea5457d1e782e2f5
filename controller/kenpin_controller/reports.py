"""A release's report on its way to a browser.

The page came in with an uploaded file, so anybody may have written it. It is shown as a picture is: it runs no
script, loads nothing, and is of no origin, so that it could not ask this site for anything in its reader's name;
in a frame or in a tab of its own alike. The header says so, whatever the page says of itself.
"""

from __future__ import annotations

from starlette.responses import Response

_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


def report_response(page: bytes) -> Response:
    """The report as a page that can be looked at and nothing else."""
    return Response(page, media_type="text/html; charset=utf-8", headers=_HEADERS)
