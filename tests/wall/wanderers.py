"""Callers of ten tenants who ask at random, over every door, and look at all that they are answered."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

import aiohttp

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import InvalidArgument, NotFound
from tests.end_to_end.callers import Callers
from tests.wall.estate import TENANTS, Estate, Shown
from tests.wall.lives import marks_in

OPERATOR_SECRET = "operator-secret"
SECRETS = json.dumps(
    [{"id": tenant, "secret": f"{tenant}-secret"} for tenant in TENANTS]
    + [{"id": "on-call", "secret": OPERATOR_SECRET, "role": "operator"}]
)
PAGE_SIZES = (3, 10, 25, 60, 1_000)
PAGES_AT_MOST = 12
LISTS_IN_A_HUNDRED = 6
DOORS = ("gRPC", "REST", "gRPC, operator")


class Wanderers:
    """Asks, counts the answers and keeps what should not have been in them.

    Args:
        callers: TenantRooms, with `SECRETS`.
        session: for REST.
        estate: the rooms.
    """

    def __init__(self, callers: Callers, session: aiohttp.ClientSession, estate: Estate) -> None:
        self.answers: Counter[str] = Counter()
        self.rooms_shown = 0
        self.participants_shown = 0
        self.leaks: list[str] = []
        self.mistakes: list[str] = []
        """Answers that hid what is the caller's own."""
        self._callers = callers
        self._session = session
        self._estate = estate
        self._unsettled: list[Shown] = []

    async def ask(self) -> None:
        """One question, or one walk over some pages."""
        tenant = random.choice(TENANTS)
        if random.randrange(100) < LISTS_IN_A_HUNDRED:
            await random.choice((self._walk, self._list_over_rest, self._borrow_a_page_token))(tenant)
        else:
            await self._get(tenant, random.choice(DOORS))

    async def ask_in_every_way(self) -> None:
        """One question of each kind, so that a short run lacks none."""
        tenant = random.choice(TENANTS)
        for door in DOORS:
            await self._get(tenant, door)
        await self._walk(tenant, operator=False)
        await self._walk(tenant, operator=True)
        await self._list_over_rest(tenant)
        await self._borrow_a_page_token(tenant)

    def settle(self) -> None:
        """Judges rooms that were shown before it was known what they are."""
        self.leaks += [str(shown) for shown in self._unsettled if not self._estate.ledger.allows(shown)]
        self._unsettled.clear()

    # --- one room ----------------------------------------------------------------------------------------

    async def _get(self, tenant: str, door: str) -> None:
        estate = self._estate
        kind = random.choices(("own", "foreign", "changing", "ownerless", "absent"), (35, 30, 15, 10, 10))[0]
        match kind:
            case "own":
                name = random.choice([*estate.lasting[tenant]])
            case "foreign":
                other = random.choice([one for one in TENANTS if one != tenant])
                name = random.choice([*estate.lasting[other]])
            case "changing" | "ownerless":
                name = random.choice(estate.changing if kind == "changing" else estate.ownerless)
            case _:
                name = f"absent {random.randrange(1_000)}"
        text = await (self._get_over_rest if door == "REST" else self._get_over_grpc)(name, tenant, door)
        self.answers[f"details, {door}"] += 1
        if text is None:
            if kind == "own":
                self.mistakes.append(f"{tenant} was not given {name}")
            return
        if kind not in ("own", "changing"):
            self.leaks.append(f"{tenant} was given the {kind} room {name}: {text}")
        self._search(tenant, text)
        if kind == "own" and estate.lasting[tenant][name] not in text:
            self.mistakes.append(f"{tenant} was given another {name}: {text}")

    async def _get_over_grpc(self, name: str, tenant: str, door: str) -> str | None:
        began = time.monotonic()
        operator = door != "gRPC"
        try:
            answer = await self._callers.grpc.get_room(
                name, token=_secret(tenant, operator), tenant_id=tenant if operator else None, timeout=30
            )
        except NotFound:
            return None
        self.participants_shown += len(answer.participants)
        self._judge(tenant, [(answer.room.name, answer.room.sid)], began)
        return str(answer)

    async def _get_over_rest(self, name: str, tenant: str, door: str) -> str | None:
        began = time.monotonic()
        url = f"{self._callers.stack.url}/livekit/rooms/{quote(name, safe='')}"
        headers = {"Authorization": f"Bearer {_secret(tenant)}"}
        async with self._session.get(url, headers=headers) as answer:
            text = await answer.text()
            if answer.status == 404:
                self._search(tenant, text)
                return None
            assert answer.status == 200, text
        room = json.loads(text)
        self.participants_shown += len(room["participants"])
        self._judge(tenant, [(room["name"], room["sid"])], began)
        return text

    # --- lists -------------------------------------------------------------------------------------------

    async def _walk(self, tenant: str, operator: bool | None = None) -> None:
        operator = random.random() < 0.3 if operator is None else operator
        consistency = random.choice((pb.CONSISTENCY_FULLY_CONSISTENT, pb.CONSISTENCY_MINIMIZE_LATENCY))
        names: list[str] = []
        page_size, page_token = random.choice(PAGE_SIZES), ""
        for _ in range(PAGES_AT_MOST):
            page = await self._page(tenant, page_size, page_token, consistency, operator=operator)
            names += [room.name for room in page.rooms]
            page_token = page.next_page_token
            if not page_token:
                self._compare(tenant, names)
                return

    async def _page(
        self,
        tenant: str,
        size: int,
        token: str = "",
        consistency: pb.Consistency.ValueType = pb.CONSISTENCY_UNSPECIFIED,
        *,
        operator: bool = False,
    ) -> pb.ListRoomsResponse:
        began = time.monotonic()
        page = await self._callers.grpc.list_rooms_page(
            page_size=size,
            page_token=token,
            consistency=consistency,
            token=_secret(tenant, operator),
            tenant_id=tenant if operator else None,
            timeout=30,
        )
        self.answers["lists, gRPC, operator" if operator else "lists, gRPC"] += 1
        self._judge(tenant, [(room.name, room.sid) for room in page.rooms], began)
        self._search(tenant, str(page))
        return page

    async def _list_over_rest(self, tenant: str) -> None:
        began = time.monotonic()
        url = f"{self._callers.stack.url}/livekit/rooms"
        async with self._session.get(url, headers={"Authorization": f"Bearer {_secret(tenant)}"}) as answer:
            text = await answer.text()
            assert answer.status == 200, text
        self.answers["lists, REST"] += 1
        self._search(tenant, text)
        names = [room["name"] for room in json.loads(text)["rooms"]]
        self._judge(tenant, [(name, None) for name in names], began)
        self._compare(tenant, names)

    async def _borrow_a_page_token(self, tenant: str) -> None:
        """A page token of another tenant's is of no use."""
        other = random.choice([one for one in TENANTS if one != tenant])
        page = await self._page(other, 3)
        if not page.next_page_token:
            self.mistakes.append(f"{other} was given a single page")
            return
        try:
            await self._page(tenant, 3, page.next_page_token)
        except InvalidArgument:
            self.answers["foreign page tokens"] += 1
        else:
            self.leaks.append(f"{tenant} used a page token of {other}")

    # --- looking -----------------------------------------------------------------------------------------

    def _judge(self, tenant: str, rooms: Iterable[tuple[str, str | None]], began: float) -> None:
        """Looks up whether each room was the tenant's during the call."""
        ended = time.monotonic()
        for name, sid in rooms:
            self.rooms_shown += 1
            shown = Shown(tenant, name, sid, began, ended)
            if not self._estate.ledger.allows(shown):
                self._unsettled.append(shown)

    def _search(self, tenant: str, text: str) -> None:
        """Looks for marks of others."""
        if foreign := marks_in(text) - {tenant}:
            self.leaks.append(f"{tenant} was shown marks of {foreign}: {text}")

    def _compare(self, tenant: str, names: list[str]) -> None:
        """A whole list has all that lasts, in order and once, and nothing else but rooms that change."""
        if names != sorted(set(names)):
            self.mistakes.append(f"{tenant} was given a list out of order: {names}")
        lasting = self._estate.lasting[tenant].keys()
        changing = set(self._estate.changing)
        if missing := lasting - set(names):
            self.mistakes.append(f"{tenant} was not given {missing}")
        if more := set(names) - lasting - changing:
            self.leaks.append(f"{tenant} was given {more}")


def _secret(tenant: str, operator: bool = False) -> str:
    return OPERATOR_SECRET if operator else f"{tenant}-secret"
