"""Errors as JSON: `{error, where, remedy}`, with a status that says whose fault it is."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from kenpin_controller.api.models import Problem
from kenpin_controller.errors import ConflictError, NotFoundError, StoreError, TooLargeError
from kenpin_controller.store.database import store_error
from kenpin_wire.errors import KenpinError, LinkError
from kenpin_wire.faults import place, words

_STATUS: Mapping[type[KenpinError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    LinkError: 503,
    StoreError: 503,
}


def problem(status: int, error: str, *, where: str = "", remedy: str = "") -> JSONResponse:
    """A response that says what was wrong."""
    body = Problem(error=error, where=where, remedy=remedy).model_dump()
    return JSONResponse(body, status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error of the API answered this way. Pages keep their own."""

    @app.exception_handler(KenpinError)
    def _kenpin(_request: Request, error: KenpinError) -> JSONResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
        return problem(status, error.what, where=error.where, remedy=error.remedy)

    @app.exception_handler(SQLAlchemyError)
    def _store(request: Request, error: SQLAlchemyError) -> JSONResponse:
        return _kenpin(request, store_error(error))

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, words(first), where=place(first), remedy="/openapi.json says what is expected.")

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        response = problem(error.status_code, str(error.detail), where=request.url.path)
        response.headers.update(error.headers or {})
        return response
