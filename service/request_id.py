"""Owns request ids: the id under which one call appears in every log and in its answer's trailers."""

import itertools
import re
import secrets
from contextvars import ContextVar
from typing import Final

from service.metadata import Metadata, values_of

REQUEST_ID_KEY: Final = "x-request-id"
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id")
"""The id of the call that is being served."""

_USABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Takes over the caller's request id, or makes one that is unique to this process and call."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._counter = itertools.count(1)

    def of(self, metadata: Metadata) -> str:
        """The one usable id in this metadata, else a new one."""
        values = set(values_of(metadata, REQUEST_ID_KEY))
        if len(values) == 1 and _USABLE.fullmatch(value := values.pop()):
            return value
        return f"{self._prefix}-{next(self._counter):x}"
