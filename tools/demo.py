"""`make run`: LiveKit, the service and the edge, with demo rooms of two tenants, until Ctrl-C.

With LIVEKIT_URL set it stands in front of that LiveKit instead, and creates and removes nothing there.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tools.child_process import ChildFailedError, ChildProcess, basic_environment
from tools.demo_rooms import GUEST_ROOM, Guest, LiveKitAccess, make_rooms
from tools.demo_settings import DemoSettings, DemoSettingsError
from tools.demo_tour import Tour, TourError
from tools.livekit_build import LiveKitBuildError, server_binary
from tools.livekit_server import LiveKitServer
from tools.stack import ROOT, Stack

__all__ = ["main"]

EXIT_USAGE: Final = 2
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOGS: Final = ("livekit.log", "service.log", "edge.log")


def main() -> int:
    """Run the demo; the exit status: 0 after Ctrl-C, 1 when something failed, 2 for unusable settings."""
    for number in STOP_SIGNALS:
        signal.signal(number, _leave)
    try:
        settings = DemoSettings.from_env(os.environ)
    except DemoSettingsError as error:
        print("The demo cannot start:", *error.problems, sep="\n  - ", file=sys.stderr)
        return EXIT_USAGE
    try:
        binary = None if settings.livekit_url else server_binary(os.environ)
        # All that follows is on this machine, and proxies would be in the way.
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        asyncio.run(_run(settings, binary, os.environ))
    except (ChildFailedError, LiveKitBuildError, TourError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Before the event loop runs, nothing is to be stopped but this process and the build, if any."""
    sys.exit(128 + number)


async def _run(settings: DemoSettings, binary: Path | None, env: Mapping[str, str]) -> None:
    """Bring everything up, show it, and take it down when told to or when a part fails."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        # From here on a signal only asks to stop, however often it comes: the way down is never cut short.
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as parts:
        told = asyncio.ensure_future(stop.wait())
        work = asyncio.ensure_future(_work(settings, binary, env, parts))
        await asyncio.wait({told, work}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if work.done():
            print("\nSomething failed; stopping the rest …", flush=True)
            await work
        print("\nStopping …", flush=True)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    print("Stopped; nothing is left running.")


async def _work(
    settings: DemoSettings, binary: Path | None, env: Mapping[str, str], parts: AsyncExitStack
) -> NoReturn:
    """Start everything, give the tour, and stay. Raises ChildFailedError as soon as a part fails."""
    print("Starting …", flush=True)
    stack, livekit, guest = await _bring_up(settings, binary, env, parts)
    children = [stack.service, stack.edge, *([livekit.child] if livekit else [])]
    failing = asyncio.ensure_future(_first_to_end(children))
    touring = asyncio.ensure_future(_show(settings, stack, livekit, guest, env))
    try:
        await asyncio.wait({failing, touring}, return_when=asyncio.FIRST_COMPLETED)
        if touring.done() and touring.exception():
            # Most likely a part is just ending, and to name it says more.
            await asyncio.wait({failing}, timeout=1)
        if not failing.done():
            await touring
        raise (await failing).failure()
    finally:
        failing.cancel()
        touring.cancel()


async def _first_to_end(children: Sequence[ChildProcess]) -> ChildProcess:
    """The child that ends first, once it has."""
    ends = {asyncio.ensure_future(child.wait()): child for child in children}
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return ends[done.pop()]
    finally:
        for end in ends:
            end.cancel()


async def _bring_up(
    settings: DemoSettings, binary: Path | None, env: Mapping[str, str], parts: AsyncExitStack
) -> tuple[Stack, LiveKitServer | None, Guest | None]:
    """Start everything; what was started is left to `parts`."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    for name in LOGS:
        (settings.logs / name).write_bytes(b"")
    service_settings = {
        **settings.settings,
        "TENANTROOMS_METRICS_LISTEN": f"127.0.0.1:{settings.metrics_port}",
    }
    livekit: LiveKitServer | None = None
    guest: Guest | None = None
    if binary:
        livekit = await parts.enter_async_context(
            LiveKitServer(binary=binary, port=settings.livekit_port, log=settings.logs / LOGS[0])
        )
        service_settings |= {
            "LIVEKIT_URL": livekit.ws_url,
            "LIVEKIT_API_KEY": livekit.api_key,
            "LIVEKIT_API_SECRET": livekit.api_secret,
        }
        access = LiveKitAccess(livekit.ws_url, livekit.api_key, livekit.api_secret)
        await make_rooms(access, [tenant.id for tenant in settings.tenants])
        guest = await parts.enter_async_context(Guest(access))
    stack = await parts.enter_async_context(
        Stack(
            service_settings,
            host=settings.host,
            port=settings.port,
            grpc_address=f"127.0.0.1:{settings.grpc_port}",
            logs=settings.logs,
            env=env,
        )
    )
    if guest and guest.joined:
        await guest.wait_counted()
    return stack, livekit, guest


async def _show(
    settings: DemoSettings,
    stack: Stack,
    livekit: LiveKitServer | None,
    guest: Guest | None,
    env: Mapping[str, str],
) -> None:
    """Print what a newcomer needs."""
    _print_addresses(settings, stack, livekit)
    if guest:
        print(f"\nDemo rooms of two tenants are there, {_presence(guest)}")
    styled = sys.stdout.isatty() and "NO_COLOR" not in env
    await Tour(stack, settings.tenants, settings.operator, basic_environment(env), sys.stdout, styled).show()
    print(f"\nRead on: README.md, docs/README.md, {stack.url}/docs\nCtrl-C stops everything.", flush=True)


def _print_addresses(settings: DemoSettings, stack: Stack, livekit: LiveKitServer | None) -> None:
    logs = settings.logs
    rows = {
        "REST": f"{stack.url}/livekit/rooms",
        "API page": f"{stack.url}/docs",
        "gRPC": f"{stack.grpc_address}  (protos/tenantrooms/v1/tenant_rooms.proto)",
        "Metrics": f"http://127.0.0.1:{settings.metrics_port}/metrics",
        "LiveKit": livekit.ws_url if livekit else f"{settings.livekit_url} (yours; nothing is changed there)",
        "Logs": f"{logs.relative_to(ROOT) if logs.is_relative_to(ROOT) else logs}/",
    }
    print("TenantRooms is up.\n")
    for name, value in rows.items():
        print(f"  {name:10}{value}")


def _presence(guest: Guest) -> str:
    if guest.joined:
        return f'with a real participant in "{GUEST_ROOM}".'
    return f'without a participant:\nnone could join "{GUEST_ROOM}". That takes a network besides loopback.'


if __name__ == "__main__":
    sys.exit(main())
