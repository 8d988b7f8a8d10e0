"""Shows the running stack to a newcomer: every command stands next to the answer that it really gave."""

import asyncio
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TextIO
from urllib.parse import quote

import aiohttp
from yarl import URL

from tools.demo_settings import Caller
from tools.progress import last_lines
from tools.stack import IMPORT_ROOTS, ROOT, Stack

__all__ = ["Tour", "TourError", "shortened"]

ROOMS_SHOWN: Final = 6
HIDDEN_SHOWN: Final = 2
ABSENT_ROOM: Final = "no-such-room"

SNIPPET: Final = """\
import asyncio
from tenantrooms_client import TenantRoomsClient

async def main():
    async with TenantRoomsClient({target!r}) as client:
        for token in {tokens}:
            rooms = [room.name async for room in client.list_rooms(token=token)]
            print(len(rooms), rooms[:{shown}])

asyncio.run(main())
"""


class TourError(Exception):
    """There is nothing to show; the message says why and where to look."""


@dataclass(frozen=True)
class Answer:
    """What the edge answered."""

    status: int
    body: str

    @property
    def rooms(self) -> list[dict[str, Any]]:
        """The rooms of a list; none when this is no list."""
        return list(json.loads(self.body).get("rooms", [])) if self.status == 200 else []

    @property
    def shown(self) -> str:
        """How it stands on the screen: a success speaks for itself, anything else has its status."""
        return shortened(self.body) if self.status == 200 else f"{self.status} {self.body}"


@dataclass
class Tour:
    """Asks the running `stack` for each caller and prints to `out`.

    `env` is the environment for the Python program that it shows and runs.
    """

    stack: Stack
    tenants: Sequence[Caller]
    operator: Caller | None
    env: Mapping[str, str]
    out: TextIO
    styled: bool
    _lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    async def show(self) -> None:
        """Everything, in the order in which a newcomer wants it. Raises TourError."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            for caller in self._callers():
                who = "The operator" if caller.is_operator else f"Tenant {caller.id}"
                await self._show_list(
                    session, caller, f"{who} sees {'all' if caller.is_operator else 'its own'}"
                )
            for tenant in self.tenants[:1]:
                await self._show_room(session, tenant)
                await self._show_masked(session, tenant)
            await self._show_anonymous(session)
        await self._show_grpc()

    def _callers(self) -> list[Caller]:
        return [*self.tenants[:2], *([self.operator] if self.operator else [])]

    async def _show_list(self, session: aiohttp.ClientSession, caller: Caller, title: str) -> None:
        answer = await self._get(session, "/livekit/rooms", caller)
        if answer.status != 200:
            raise TourError(
                f"The edge answered {answer.status} {answer.body}: LiveKit cannot be asked. "
                f"The service says why:\n{last_lines(self.stack.service.log, 3, width=600)}"
            )
        self._lists[caller.id] = answer.rooms
        self._title(title)
        self._command(self._curl("/livekit/rooms", caller))
        self._lines([(answer.shown, "")])

    async def _show_room(self, session: aiohttp.ClientSession, tenant: Caller) -> None:
        rooms = self._lists[tenant.id]
        if not rooms:
            return
        # The fullest room is the one worth looking into.
        answers = [
            (await self._get(session, _room_path(room["name"]), tenant), room) for room in rooms[:ROOMS_SHOWN]
        ]
        answer, room = max(answers, key=lambda pair: len(json.loads(pair[0].body).get("participants", ())))
        self._title(f"Tenant {tenant.id} looks into one of its rooms")
        self._command(self._curl(_room_path(room["name"]), tenant))
        self._lines([(answer.shown, "")])

    async def _show_masked(self, session: aiohttp.ClientSession, tenant: Caller) -> None:
        """Rooms that the tenant must not see, next to one that does not exist."""
        asked = [*self._hidden_from(tenant), (ABSENT_ROOM, "absent")]
        self._title(f"What {tenant.id} must not see answers like what does not exist")
        self._command(self._curl(_room_path(asked[0][0]), tenant))
        answers = [await self._get(session, _room_path(name), tenant) for name, _ in asked]
        self._lines(
            [(answer.shown, f"{name} ({what})") for answer, (name, what) in zip(answers, asked, strict=True)]
        )

    def _hidden_from(self, tenant: Caller) -> list[tuple[str, str]]:
        """Some rooms of others, and whose they are; at most one of each owner."""
        own = {room["name"] for room in self._lists[tenant.id]}
        found: dict[str, str] = {}
        known = set(own)
        for other in self.tenants[:2]:
            names = [room["name"] for room in self._lists[other.id]]
            known |= set(names)
            if other is not tenant and names:
                found[names[-1]] = f"{other.id}'s"
        if self.operator:
            rest = [room["name"] for room in self._lists[self.operator.id] if room["name"] not in known]
            if rest:
                found[rest[0]] = "neither tenant's"
        return list(found.items())[:HIDDEN_SHOWN]

    async def _show_anonymous(self, session: aiohttp.ClientSession) -> None:
        self._title("Without a credential")
        self._command(self._curl("/livekit/rooms", None))
        answer = await self._get(session, "/livekit/rooms", None)
        self._lines([(answer.shown, "")])

    async def _show_grpc(self) -> None:
        callers = self._callers()
        target = self.stack.grpc_address

        def snippet(tokens: list[str]) -> str:
            return SNIPPET.format(target=target, tokens=tokens, shown=ROOMS_SHOWN)

        self._title("The same over gRPC, with the typed client")
        self._command(f"{_this_python()} - <<'END'\n{snippet([caller.shown for caller in callers])}END")
        printed = await self._run(snippet([caller.secret for caller in callers]))
        self._lines(list(zip(printed.splitlines(), [caller.id for caller in callers], strict=True)))
        header = shlex.quote(f"authorization: Bearer {callers[0].shown}")
        method = "tenantrooms.v1.TenantRooms/ListRooms"
        self._lines([(f"Or: grpcurl -plaintext -H {header} {target} {method}", "")])

    async def _run(self, program: str) -> str:
        """What the program printed; errors are part of it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self.env, "PYTHONPATH": ":".join(map(str, IMPORT_ROOTS))},
            cwd=ROOT,
        )
        printed, _ = await process.communicate(program.encode())
        if process.returncode:
            raise TourError(f"The gRPC example failed:\n{printed.decode()}")
        return printed.decode()

    async def _get(self, session: aiohttp.ClientSession, path: str, caller: Caller | None) -> Answer:
        headers = {"Authorization": f"Bearer {caller.secret}"} if caller else {}
        async with session.get(URL(self.stack.url + path, encoded=True), headers=headers) as response:
            return Answer(response.status, await response.text())

    def _curl(self, path: str, caller: Caller | None) -> str:
        header = f" -H {shlex.quote(f'Authorization: Bearer {caller.shown}')}" if caller else ""
        return f"curl -s {self.stack.url}{path}{header}"

    def _title(self, text: str) -> None:
        bold, plain = ("\x1b[1m", "\x1b[0m") if self.styled else ("", "")
        print(f"\n{bold}{text}{plain}", file=self.out)

    def _command(self, text: str) -> None:
        cyan, plain = ("\x1b[36m", "\x1b[0m") if self.styled else ("", "")
        # Further lines are not indented: a program that is copied from the screen must run.
        print(f"  {cyan}$ {text}{plain}", file=self.out)

    def _lines(self, lines: Sequence[tuple[str, str]]) -> None:
        """Print texts, each with a note about it where there is one."""
        width = max(len(text) for text, _ in lines)
        for text, note in lines:
            beside = f"{'':{width - len(text)}}   <- {note}" if note else ""
            print("  " + _harmless(text + beside).replace("\n", "\n  "), file=self.out)


def _room_path(name: str) -> str:
    return f"/livekit/rooms/{quote(name, safe='')}"


def _this_python() -> str:
    """The running interpreter as one would type it in the checkout."""
    return ".venv/bin/python" if sys.prefix == str(ROOT / ".venv") else "python"


def _harmless(text: str) -> str:
    """A text in which JSON escapes stand for what a terminal could take for a command.

    Names of rooms are anyone's to choose.
    """
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def shortened(body: str) -> str:
    """A JSON body as it is, but with the members of a list one a line and at most ROOMS_SHOWN of them."""
    content = json.loads(body)
    name, members = next(
        ((key, value) for key, value in content.items() if isinstance(value, list)), ("", [])
    )
    if not members:
        return body
    lines = [_compact(member) for member in members[:ROOMS_SHOWN]]
    more = len(members) - len(lines)
    listed = ",\n   ".join(lines) + (f",\n   … and {more:,} more" if more else "")
    before = {key: value for key, value in content.items() if key != name}
    head = _compact(before).removesuffix("}") + ("," if before else "")
    return f'{head}"{name}":[\n   {listed}]}}'


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
