"""The process in which real participants live; `participants` starts it and tells it what to do.

LiveKit's client brings a native library with threads of its own, which may abort a Python that ends while
they still report something. Here that harms nobody: this process ends without any clean-up.

It reads requests from standard input and writes one reply to each to standard output, as lines of JSON:

    {"id": 1, "do": "join", "key": "…", "url": "ws://…", "token": "…", "publishes": true}  →  {"id": 1}
    {"id": 2, "do": "leave", "key": "…"}                                                   →  {"id": 2}

A reply to what failed has an "error". The end of its input ends the process.
"""

import asyncio
import json
import os
import sys
from typing import Any

from livekit import rtc

SAMPLE_RATE = 48_000
SAMPLES = SAMPLE_RATE // 10


class Connections:
    """The participants, by the keys that requests give them."""

    def __init__(self) -> None:
        self._rooms: dict[str, rtc.Room] = {}
        self._sources: dict[str, rtc.AudioSource] = {}

    async def join(self, *, key: str, url: str, token: str, publishes: bool) -> None:
        """Connects a participant, who then publishes an audio track, or only listens."""
        room = rtc.Room()
        await room.connect(url, token)
        self._rooms[key] = room
        if publishes:
            source = self._sources[key] = rtc.AudioSource(SAMPLE_RATE, 1)
            await room.local_participant.publish_track(
                rtc.LocalAudioTrack.create_audio_track("microphone", source),
                rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE),
            )
            await source.capture_frame(rtc.AudioFrame.create(SAMPLE_RATE, 1, SAMPLES))

    async def leave(self, *, key: str) -> None:
        """Disconnects a participant; that the server has done so already is no error."""
        await self._rooms.pop(key).disconnect()
        if source := self._sources.pop(key, None):
            await source.aclose()


async def reply_to(connections: Connections, request: dict[str, Any]) -> dict[str, Any]:
    """Does what a request asks for."""
    number, action = request.pop("id"), request.pop("do")
    try:
        if action == "join":
            await connections.join(**request)
        else:
            await connections.leave(**request)
    except Exception as error:  # noqa: BLE001 (whatever it is, the test that asked is told)
        return {"id": number, "error": f"{type(error).__name__}: {error}"}
    return {"id": number}


async def main() -> None:
    """Serves requests, one after the other."""
    requests = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin
    )
    connections = Connections()
    while line := await requests.readline():
        reply = await reply_to(connections, json.loads(line))
        print(json.dumps(reply), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
