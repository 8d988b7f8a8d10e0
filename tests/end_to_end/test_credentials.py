"""MATRIX C5 and C6: which credential counts, over the whole way from the wire to the verdict."""

import pytest

from tests.end_to_end.callers import ACME, GLOBEX, Callers
from tests.support.real_livekit import RealLiveKit

A, G, BAD = f"Bearer {ACME}", f"Bearer {GLOBEX}", "Bearer wrong"
SEES_ACME, SEES_GLOBEX, SEES_ALL = ["acme-room"], ["globex-room"], ["acme-room", "globex-room"]

# Authorization headers, query, what the caller sees: rooms, or the 401's code
BOTH_MODES: list[tuple[list[str], str, list[str] | str]] = [
    ([A], "", SEES_ACME),
    (["bEARER " + ACME], "", SEES_ACME),
    ([], f"?api_key={ACME}", SEES_ACME),
    ([], f"?x=1&api_key={ACME}&y=2", SEES_ACME),
    ([], f"?api_key={ACME[:-1]}%{ord(ACME[-1]):02x}", SEES_ACME),
    ([A], f"?api_key={GLOBEX}", SEES_ACME),
    ([G], f"?api_key={ACME}", SEES_GLOBEX),
    ([BAD], f"?api_key={ACME}", "unauthorized"),
    (["Basic abc"], f"?api_key={ACME}", SEES_ACME),
    (["Bearer"], f"?api_key={ACME}", SEES_ACME),
    (["Bearer "], f"?api_key={ACME}", SEES_ACME),
    (["Basic abc"], "", "invalid_auth_header"),
    (["Bearer"], "", "invalid_auth_header"),
    ([""], "", "invalid_auth_header"),
    ([], "?api_key=", "invalid_auth_header"),
    ([], "?api_key", "invalid_auth_header"),
    ([A, A], "", SEES_ACME),
    ([A, G], "", "invalid_auth_header"),
    ([A, "Basic abc"], "", "invalid_auth_header"),
    ([A, G], f"?api_key={ACME}", "invalid_auth_header"),
    ([], f"?api_key={ACME}&api_key={ACME}", SEES_ACME),
    ([], f"?api_key={ACME}&api_key={GLOBEX}", "invalid_auth_header"),
    ([], f"?api_key={ACME}+", "unauthorized"),
    ([], f"?api_key=%2562{ACME}", "unauthorized"),
    ([], f"?API_KEY={ACME}&api_key=wrong", "unauthorized"),
    (["Bearer " + "x" * 8192], "", "unauthorized"),
    (["Bearer " + "x" * 8193], "", "invalid_auth_header"),
    (["Bearer caf\u00e9"], "", "invalid_auth_header"),
    ([], "?api_key=%FF", "invalid_auth_header"),
    ([], f"?api_key={ACME}%00", "invalid_auth_header"),
    ([], f"?api_key={ACME}%20", "invalid_auth_header"),
    ([BAD], "", "unauthorized"),
    ([], "?api_key=wrong", "unauthorized"),
]


@pytest.fixture
async def rooms(real_livekit: RealLiveKit) -> None:
    await real_livekit.create_room("acme-room", owner="acme")
    await real_livekit.create_room("globex-room", owner="globex")


async def seen(callers: Callers, headers: list[str], query: str) -> list[str] | str:
    answer = await callers.rest(
        f"/livekit/rooms{query}", None, *(("Authorization", header) for header in headers)
    )
    assert ACME.encode() not in answer.body
    if answer.status == 401:
        assert answer.header("www-authenticate") == "Bearer"
        assert answer.json.keys() == {"error", "message"}
        return str(answer.json["error"])
    assert answer.status == 200
    return [room["name"] for room in answer.json["rooms"]]


@pytest.mark.usefixtures("rooms")
async def test_the_whole_table_where_a_credential_is_required(walled: Callers) -> None:
    table = [*BOTH_MODES, ([], "", "missing_auth_header")]
    results = [(headers, query, await seen(walled, headers, query)) for headers, query, _ in table]
    assert results == table


@pytest.mark.usefixtures("rooms")
async def test_the_whole_table_where_none_is_required(unwalled: Callers) -> None:
    table = [*BOTH_MODES, ([], "", SEES_ALL), ([], "?apikey=wrong", SEES_ALL)]
    results = [(headers, query, await seen(unwalled, headers, query)) for headers, query, _ in table]
    assert results == table


@pytest.mark.usefixtures("rooms")
async def test_a_tenant_id_sent_as_metadata_or_header_is_never_believed(walled: Callers) -> None:
    forged = [
        ("tenant-id", "globex"),
        ("x-tenant-id", "globex"),
        ("auth-id", "globex"),
        ("x-auth-id", "globex"),
    ]
    page = await walled.grpc.list_rooms_page(token=ACME, metadata=forged)
    assert [room.name for room in page.rooms] == SEES_ACME
    answer = await walled.rest("/livekit/rooms", ACME, *forged)
    assert [room["name"] for room in answer.json["rooms"]] == SEES_ACME
    assert (await walled.rest("/livekit/rooms", None, *forged)).status == 401
