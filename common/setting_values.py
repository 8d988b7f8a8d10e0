"""Owns how values that both processes have settings for are written: each function reads one kind of text.

Each raises a ValueError whose text never holds the value: it goes onto the screen of who starts the process.
"""

import re
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from limits import RateLimitItem, parse_many
from pydantic import SecretStr

_DAY_SECONDS: Final = 24 * 60 * 60


def read_rates(value: str) -> tuple[RateLimitItem, ...]:
    """Rates, each of which holds; the shortest first: whom it refuses has not used up any of the longer ones.

    Raises:
        ValueError: there is none, or one is over more than a day.
    """
    try:
        rates = parse_many(value)
    except ValueError:  # its text holds the value
        rates = []
    if not rates or not all(rate.amount and 0 < rate.get_expiry() <= _DAY_SECONDS for rate in rates):
        raise ValueError("must be a rate like 100/second or 100/second;2000/minute, of at most a day")
    return tuple(sorted(rates, key=RateLimitItem.get_expiry))


def read_redis_url(value: str) -> SecretStr:
    """The address of a Redis, which may hold a password.

    Raises:
        ValueError: it is none.
    """
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in {"redis", "rediss"}
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an address like redis://:password@host:6379/0, or rediss:// with TLS")
    return SecretStr(value)


def read_traces_endpoint(value: str) -> str:
    """Where spans are sent.

    Raises:
        ValueError: it is no such address, or nothing could be sent there.
    """
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("must be http(s)://host[:port][/path], without a user, a query or a fragment")
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise ValueError("needs OpenTelemetry, which is not installed: see requirements-traces.txt")
    return value
