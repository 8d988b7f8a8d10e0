"""A scripted LiveKit server for tests: it speaks RoomService over Twirp, records all and fails on demand.

    async with LiveKitDouble() as double:
        double.put_room("lobby", owner="tenant-1")
        double.script("ListParticipants", TwirpError("not_found"))
        …  # the code under test calls double.url
        assert [call.method for call in double.requests] == ["ListRooms", "ListParticipants"]

tests/livekit_contract holds it to the behaviour of the real server. Left out: JSON requests and the methods
that this project never calls. All its rooms count as active, so CreateRoom leaves a present one as it is.
"""

import asyncio
import json
import ssl
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Self

from aiohttp import hdrs, web
from google.protobuf.message import Message
from livekit.protocol import models

from service.readiness import PROBE_NAME
from tests.support.livekit_answers import Answer
from tests.support.livekit_calls import Fault, respond
from tests.support.livekit_faults import Hold, Normal
from tests.support.livekit_methods import METHODS, SERVICE_PATH, LiveKitMethods
from tests.support.livekit_record import Record, RecordedCall, recorded_call
from tests.support.livekit_rooms import RoomStore, StoreKind

HEADER_LIMIT = 2**20


class _Call:
    """A recorded call on its way to an answer; see `livekit_calls.Call`."""

    def __init__(self, methods: LiveKitMethods, recorded: RecordedCall, request: web.Request) -> None:
        self._methods = methods
        self._recorded = recorded
        self.request = request

    def answer(self) -> Answer:
        return self._methods.answer(
            self.request.method, self._recorded.path, self._recorded.headers, self._recorded.body
        )

    def parsed(self, body: bytes) -> Message:
        return METHODS[self._recorded.method].response.FromString(body)


class LiveKitDouble:
    """The server, running inside `async with`, on a free port of the loopback address.

    The probes of the service's readiness are answered as usual, or with what `script_always` says, and are
    counted in `probes` only.

    Args:
        store: which of LiveKit's two stores to answer like; they differ for names asked for twice.
        tls: serves https with this context.
        max_room_name_bytes, max_metadata_bytes: LiveKit's own limits.
    """

    def __init__(
        self,
        *,
        store: StoreKind = "memory",
        api_key: str = "devkey",
        api_secret: str = "double-secret-of-thirty-two-bytes-or-more",
        tls: ssl.SSLContext | None = None,
        max_room_name_bytes: int = 256,
        max_metadata_bytes: int = 512 * 1024,
    ) -> None:
        self.api_key, self.api_secret = api_key, api_secret
        self._record = Record()
        self._rooms = RoomStore(store)
        self._keys = {api_key: api_secret}
        self._methods = LiveKitMethods(self._rooms, self._keys, max_room_name_bytes, max_metadata_bytes)
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._standing: dict[str, Fault] = {}
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.probes = 0
        self._port = 0

    def accept_keys(self, keys: Mapping[str, str]) -> None:
        """Accepts these API keys with their secrets, and no others, from now on."""
        self._keys.clear()
        self._keys.update(keys)

    # --- running -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT, or https with TLS; known once it has been started."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """The same address as LiveKit users write it: ws or wss."""
        return self.url.replace("http", "ws", 1)

    async def start(self) -> None:
        """Listens; after `stop` on the same port as before."""
        # LiveKit takes request bodies of any size.
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._serve)
        application.on_response_prepare.append(_like_livekit)
        self._runner = web.AppRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=0.05,
            max_line_size=HEADER_LIMIT,
            max_field_size=HEADER_LIMIT,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Drops every connection and refuses new ones; the rooms and the record stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- rooms -------------------------------------------------------------------------------------------

    def put_room(
        self,
        name: str,
        *,
        owner: str | None = None,
        metadata: str = "",
        sid: str | None = None,
        creation_time: int | None = None,
        max_participants: int = 0,
        num_participants: int = 0,
        active_recording: bool = False,
        turn_password: str | None = None,
    ) -> models.Room:
        """Makes a room, or recreates it: a new sid and no participants. Gives a copy of it.

        Args:
            owner: becomes the metadata `{"auth_id": owner}`.
            metadata: the text as it is; not with `owner`.
            num_participants: LiveKit's figure, until `put_participant` or `remove_participant` counts anew.
        """
        if owner is not None:
            metadata = _owned_by(owner, metadata)
        room = self._rooms.new_room(
            name, metadata, sid=sid, creation_time=creation_time, turn_password=turn_password
        )
        room.max_participants = max_participants
        room.num_participants = num_participants
        room.active_recording = active_recording
        self._rooms.clear_participants(name)
        self._rooms.put(room)
        return room

    def put_rooms(self, rooms: Iterable[models.Room]) -> None:
        """Stores whole rooms as they are: the quick way to very many."""
        self._rooms.put_all(rooms)

    def room(self, name: str) -> models.Room:
        """A copy of the room. Raises KeyError."""
        return self._rooms.get(name)

    def has_room(self, name: str) -> bool:
        """Whether there is a room of this name."""
        return name in self._rooms

    def set_metadata(self, name: str, metadata: str) -> None:
        """Changes the metadata of the same room, which keeps its sid. Raises KeyError."""
        room = self._rooms.get(name)
        room.metadata = metadata
        self._rooms.put(room)

    def give_room(self, name: str, owner: str) -> None:
        """Gives the same room to another owner. Raises KeyError."""
        self.set_metadata(name, _owned_by(owner))

    def remove_room(self, name: str) -> None:
        """Raises KeyError."""
        self._rooms.remove(name)

    def put_participant(
        self,
        room: str,
        identity: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        kind: int = models.ParticipantInfo.Kind.STANDARD,
        state: int = models.ParticipantInfo.State.ACTIVE,
        is_publisher: bool = False,
        joined_at: int | None = None,
    ) -> models.ParticipantInfo:
        """Lets a participant join, or replaces one. Raises KeyError when there is no such room.

        Args:
            kind, state: numbers, so that a test may give one that does not exist yet.
        """
        fields: dict[str, Any] = {
            "name": name,
            "metadata": metadata,
            "attributes": attributes or {},
            "kind": kind,
            "state": state,
            "is_publisher": is_publisher,
        }
        participant = self._rooms.new_participant(identity, joined_at, fields)
        self._rooms.put_participant(room, participant)
        return participant

    def remove_participant(self, room: str, identity: str) -> None:
        """Raises KeyError."""
        self._rooms.remove_participant(room, identity)

    # --- script ------------------------------------------------------------------------------------------

    def script(self, method: str, *faults: Fault) -> None:
        """Answers the next calls of a method with these, one each, and later ones as usual."""
        self._scripts[_known(method)].extend(faults)

    def script_always(self, method: str, fault: Fault) -> None:
        """Answers every call of a method with this, until `heal`; what `script` gave goes first."""
        self._standing[_known(method)] = fault

    def heal(self) -> None:
        """Forgets all scripts."""
        self._scripts.clear()
        self._standing.clear()

    def hold(self, method: str, *, read_first: bool = False, then: Fault | None = None) -> Hold:
        """Holds the next call of a method until the hold is released; see `Hold`."""
        held = Hold(read_first=read_first, then=then)
        self.script(method, held)
        return held

    # --- record ------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedCall]:
        """Every call so far, in the order of arrival."""
        return list(self._record.all)

    def calls(self, method: str) -> list[RecordedCall]:
        """The calls of one method so far."""
        wanted = _known(method)
        return [call for call in self._record.all if call.method == wanted]

    async def next_request(self, method: str | None = None) -> RecordedCall:
        """The oldest call (of that method) not yet asked for here; waits for one, 10 s at most."""
        return await self._record.next(None if method is None else _known(method))

    def forget(self) -> None:
        """Empties the record."""
        self._record.forget()

    # --- serving -----------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        clock = asyncio.get_running_loop()
        arrived = clock.time()
        recorded = recorded_call(request, await request.read(), arrived)
        if recorded.names == [PROBE_NAME]:
            # Made at times of the service's choice: no script is meant for it, and no test's record.
            self.probes += 1
            fault = self._standing.get(recorded.method, Normal())
            return await fault.send(_Call(self._methods, recorded, request))
        if not request.path.startswith(SERVICE_PATH):
            # Health checks and unknown paths are no calls.
            return respond(_Call(self._methods, recorded, request).answer())
        await self._record.add(recorded)
        try:
            response = await self._next_fault(recorded.method).send(_Call(self._methods, recorded, request))
            recorded.status = response.status
            if not response.prepared:
                # Sent from here, so that the record knows when it was sent and whether anybody stayed for it.
                await response.prepare(request)
                await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            recorded.aborted = True
            raise
        else:
            return response
        finally:
            recorded.answered = clock.time()
            recorded.done.set()

    def _next_fault(self, method: str) -> Fault:
        if script := self._scripts.get(method):
            return script.popleft()
        return self._standing.get(method, Normal())


async def _like_livekit(request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["Vary"] = "Origin"
    if hdrs.ORIGIN in request.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "*"
    response.headers.pop(hdrs.SERVER, None)


def _owned_by(owner: str, metadata: str = "") -> str:
    if metadata:
        raise ValueError("a room takes an owner or metadata, not both")
    return json.dumps({"auth_id": owner})


def _known(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"the double has no method {method}; it has {', '.join(METHODS)}")
    return method
