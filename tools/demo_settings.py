"""Reads the demo's settings: the ports, and either a LiveKit of its own or the one in LIVEKIT_URL.

Whatever the service and the edge would refuse is refused here first, by their own rules, with every
problem at once and before anything starts.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from common.settings import SettingsError
from edge.settings import EdgeSettings
from service.settings import load
from tools.ports import free_tcp_port, is_taken
from tools.stack import ROOT

__all__ = ["Caller", "DemoSettings", "DemoSettingsError"]

TENANTS: Final = ("acme", "globex")
OWN_SECRETS: Final = frozenset(
    f"{name}{suffix}" for name in ("AUTH_API_SECRETS_JSON", "AUTH_API_SECRET") for suffix in ("", "_FILE")
)
SET_BY_DEMO: Final = {
    "TENANTROOMS_GRPC_LISTEN": "set DEMO_GRPC_PORT instead",
    "TENANTROOMS_GRPC_TARGET": "set DEMO_GRPC_PORT instead",
    "TENANTROOMS_METRICS_LISTEN": "set DEMO_METRICS_PORT instead",
}
LIVEKIT_KEY, LIVEKIT_SECRET = "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"


class DemoSettingsError(Exception):
    """The settings cannot be used; `problems` has one line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Caller:
    """Someone with a credential. `shown` stands for the secret on the screen."""

    id: str
    secret: str
    shown: str
    is_operator: bool


@dataclass(frozen=True)
class DemoSettings:
    """What the demo was asked to do.

    `livekit_url` is None when the demo starts a LiveKit of its own. `settings` are those of the service
    and the edge, by name; without LiveKit's when the demo starts it.
    """

    host: str
    port: int
    grpc_port: int
    metrics_port: int
    livekit_port: int
    livekit_url: str | None
    tenants: tuple[Caller, ...]
    operator: Caller | None
    settings: Mapping[str, str]
    logs: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read `env`. Raises DemoSettingsError, with a taken port among the reasons."""
        # Set but empty counts as unset, as `make run PORT=` would have it.
        env = {name: value for name, value in env.items() if value}
        problems = [f"{name}: {hint}" for name, hint in SET_BY_DEMO.items() if name in env]
        own_livekit = "LIVEKIT_URL" in env
        wanted = {"PORT": 3001, "DEMO_GRPC_PORT": 50051, "DEMO_METRICS_PORT": 0}
        if not own_livekit:
            wanted["DEMO_LIVEKIT_PORT"] = 7880
        host = env.get("HOST", "127.0.0.1")
        ports = _ports(env, wanted, host, problems)

        settings = _settings_of_both(env, own_livekit=own_livekit)
        own_secrets = bool(OWN_SECRETS & settings.keys())
        if not own_secrets:
            settings["AUTH_API_SECRETS_JSON"] = _made_up_secrets()
        settings["AUTH_REQUIRED"] = "true"
        callers = _callers(settings, problems, shown=not own_secrets)
        if own_livekit and not {LIVEKIT_KEY, f"{LIVEKIT_KEY}_FILE"} & settings.keys():
            problems.append(f"LIVEKIT_URL is set: set {LIVEKIT_KEY} and {LIVEKIT_SECRET} of that server too")
        try:
            EdgeSettings.from_env({**settings, "HOST": host})
        except SettingsError as error:
            problems += error.problems
        if problems:
            raise DemoSettingsError(problems)
        return cls(
            host=host,
            port=ports["PORT"],
            grpc_port=ports["DEMO_GRPC_PORT"],
            metrics_port=ports["DEMO_METRICS_PORT"],
            livekit_port=ports.get("DEMO_LIVEKIT_PORT", 0),
            livekit_url=env.get("LIVEKIT_URL"),
            tenants=tuple(caller for caller in callers if not caller.is_operator),
            operator=next((caller for caller in callers if caller.is_operator), None),
            settings=settings,
            logs=Path(env["DEMO_LOGS"]).absolute() if "DEMO_LOGS" in env else ROOT / ".cache" / "run",
        )


def _ports(
    env: Mapping[str, str], wanted: Mapping[str, int], host: str, problems: list[str]
) -> dict[str, int]:
    """The port for each variable in `wanted`, where 0 asks for a free one; adds to `problems`."""
    ports: dict[str, int] = {}
    for name, default in wanted.items():
        text = env.get(name, str(default))
        if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
            problems.append(
                f"{name}={text} is not a port: set a number from 1 to 65535, or 0 for a free port"
            )
            continue
        port = int(text) or free_tcp_port()
        address = host if name == "PORT" else "127.0.0.1"
        try:
            taken = is_taken(address, port)
        except OSError as error:
            problems.append(f"HOST={host} is not an address to listen on: {error.strerror}")
            continue
        if taken:
            problems.append(
                f"port {port} is in use by another process: stop that, or set {name} to another port, "
                f"such as {name}={port + 100 if port < 65_000 else port - 100}"
            )
        elif port in ports.values():
            other = next(key for key, value in ports.items() if value == port)
            problems.append(f"{name} and {other} are both {port}: set one of them to another port")
        ports[name] = port
    return ports


def _settings_of_both(env: Mapping[str, str], *, own_livekit: bool) -> dict[str, str]:
    """The caller's own settings for the service and the edge."""
    prefixes = ("AUTH_", "TENANTROOMS_", "LIVEKIT_") if own_livekit else ("AUTH_", "TENANTROOMS_")
    left_out = {*SET_BY_DEMO, "LIVEKIT_SERVER_BIN"}
    return {name: value for name, value in env.items() if name.startswith(prefixes) and name not in left_out}


def _made_up_secrets() -> str:
    entries = [{"id": tenant, "secret": f"{tenant}-{secrets.token_hex(6)}"} for tenant in TENANTS]
    entries.append({"id": "operator", "secret": f"operator-{secrets.token_hex(6)}", "role": "operator"})
    return json.dumps(entries)


def _callers(settings: Mapping[str, str], problems: list[str], *, shown: bool) -> list[Caller]:
    """Whom the service will know, one for each id; adds what it would refuse to `problems`."""
    try:
        accepted = load(settings).api_secrets
    except SettingsError as error:
        problems += error.problems
        return []
    # The last secret of an id is the newest, where there are several because of a rotation.
    by_id = {entry.id: entry for entry in accepted}
    return [
        Caller(
            id=entry.id,
            secret=entry.secret,
            # A secret that was not made up for the demo is none of the screen's business.
            shown=entry.secret if shown else f"<the secret of {entry.id}>",
            is_operator=entry.role == "operator",
        )
        for entry in by_id.values()
    ]
