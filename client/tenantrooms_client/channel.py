"""Owns how the client's channel behaves: retries, reconnecting, keepalive, sizes."""

import json
from collections.abc import Sequence
from typing import Final

import grpc

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The largest answer taken in: 50,000 rooms with names of 256 bytes are some 17 MiB."""

# Both rpcs only read, so each may be tried again. CANCELLED is what a server gives to the calls that it
# could not finish while stopping. A server that answers on purpose forbids the retry by its trailers.
_SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": "tenantrooms.v1.TenantRooms"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ]
}

_OPTIONS: Final[Sequence[tuple[str, str | int]]] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # gRPC's own defaults back off for up to two minutes from a service that is back within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 300),
    # A peer that vanished without a word is noticed within 40 s, also while no call is under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A token must not end up at a proxy because of a variable in the environment.
    ("grpc.enable_http_proxy", 0),
)


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, server_name: str | None
) -> grpc.aio.Channel:
    """A channel to `target` (`host:port` or `unix:path`): TLS with credentials, else plain text.

    The certificate has to be one for `server_name`; None is the host in `target`.
    """
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    name = [] if server_name is None else [("grpc.ssl_target_name_override", server_name)]
    return grpc.aio.secure_channel(target, credentials, options=[*_OPTIONS, *name])
