"""Real participants: they join a real LiveKit over loopback with LiveKit's own client and its native library.

    async with Participants(livekit, process) as participants:
        await participants.join("lobby", "alice", publishes=True)

They live in a process of their own (`participant_process`), one for a whole test run. A participant counts
as there once LiveKit's API reports it so.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from livekit.api import AccessToken, VideoGrants
from livekit.protocol import models

from tests.support.real_livekit import PATIENCE_SECONDS, RealLiveKit, reported
from tools.progress import last_lines

PROGRAM = Path(__file__).with_name("participant_process.py")


class ParticipantProcess:
    """The process that holds the connections, running inside `async with`; its log goes to that file."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._last_id = 0

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                PROGRAM,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            # The end of its input ends the process.
            process.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def ask(self, action: str, **details: object) -> None:
        """Has something done, and waits until it is. Raises RuntimeError when it failed."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the participants' process does not run")
        async with self._turn, asyncio.timeout(PATIENCE_SECONDS):
            self._last_id += 1
            request = {"id": self._last_id, "do": action, **details}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            reply: dict[str, object] = {}
            # An earlier request may have been given up before its reply came.
            while reply.get("id") != self._last_id:
                line = await process.stdout.readline()
                if not line:
                    raise RuntimeError(f"the participants' process ended. {last_lines(self._log)}")
                reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"a participant failed to {action}: {reply['error']}")


class Participants:
    """The participants that one test brings along; those still there leave when the block ends."""

    def __init__(self, livekit: RealLiveKit, process: ParticipantProcess) -> None:
        self._livekit = livekit
        self._process = process
        self._keys: dict[tuple[str, str], str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._keys:
            _, key = self._keys.popitem()
            await self._process.ask("leave", key=key)

    async def join(
        self,
        room: str,
        identity: str,
        *,
        kind: Literal["standard", "agent"] = "standard",
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        publishes: bool = False,
    ) -> models.ParticipantInfo:
        """Joins; gives the participant as LiveKit reports it.

        Args:
            publishes: publishes an audio track, else only listens.
        """
        token = (
            AccessToken(self._livekit.api_key, self._livekit.api_secret)
            .with_identity(identity)
            .with_kind(kind)
            .with_name(name)
            .with_metadata(metadata)
            .with_attributes(dict(attributes or {}))
            .with_grants(VideoGrants(room_join=True, room=room, agent=kind == "agent"))
        )
        key = f"{self._livekit.ws_url} {room} {identity}"
        await self._process.ask(
            "join", key=key, url=self._livekit.ws_url, token=token.to_jwt(), publishes=publishes
        )
        self._keys[room, identity] = key

        async def look() -> models.ParticipantInfo | None:
            for one in await self._livekit.list_participants(room):
                active = one.state == models.ParticipantInfo.State.ACTIVE
                if one.identity == identity and active and one.is_publisher == publishes:
                    return one
            return None

        return await reported(look, f"{identity!r} in {room!r}")

    async def leave(self, room: str, identity: str) -> None:
        """Leaves, and waits until LiveKit no longer reports the participant."""
        await self._process.ask("leave", key=self._keys.pop((room, identity)))

        async def look() -> bool | None:
            present = [one.identity for one in await self._livekit.list_participants(room)]
            return None if identity in present else True

        await reported(look, f"that {identity!r} left {room!r}")
