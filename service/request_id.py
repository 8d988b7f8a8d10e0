"""Owns where the id of the call that is being served is found."""

from contextvars import ContextVar
from typing import Final

REQUEST_ID_KEY: Final = "x-request-id"
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id")
"""The id of the call that is being served."""
