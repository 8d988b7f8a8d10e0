"""The contract's table "Who sees what", over REST and gRPC, on the real LiveKit."""

import pytest

from tests.end_to_end.callers import ACME, GLOBEX, OPERATOR, Callers
from tests.support.real_livekit import RealLiveKit

ALL = ["acme-a", "acme-b", "globex-a", "nobodys"]
NOT_FOUND = {"error": "Room not found or not accessible"}

# caller, its secret, what it sees
WALLED = [
    ("a tenant", ACME, ["acme-a", "acme-b"]),
    ("another tenant", GLOBEX, ["globex-a"]),
    ("an operator", OPERATOR, ALL),
]
UNWALLED = [*WALLED, ("nobody in particular", None, ALL)]


@pytest.fixture
async def rooms(real_livekit: RealLiveKit) -> None:
    """Two rooms of one tenant, one of another, one of nobody."""
    await real_livekit.create_room("acme-b", owner="acme")
    await real_livekit.create_room("acme-a", owner="acme")
    await real_livekit.create_room("globex-a", owner="globex")
    await real_livekit.create_room("nobodys", metadata='{"auth_id": ["acme"]}')


async def see_exactly(callers: Callers, token: str | None, visible: list[str]) -> None:
    assert await callers.rest_names(token) == visible
    assert await callers.grpc_names(token) == visible
    for name in [*ALL, "absent"]:
        answer = await callers.rest_room(name, token)
        if name in visible:
            assert (answer.status, answer.json["name"]) == (200, name)
            assert await callers.grpc_reason(name, token) == "ok"
        else:
            assert (answer.status, answer.json) == (404, NOT_FOUND)
            assert await callers.grpc_reason(name, token) == "ROOM_NOT_FOUND"


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize(("_caller", "token", "visible"), WALLED)
async def test_each_caller_sees_its_own_rooms(
    walled: Callers, _caller: str, token: str, visible: list[str]
) -> None:
    await see_exactly(walled, token, visible)


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize(("_caller", "token", "visible"), UNWALLED)
async def test_without_auth_required_a_caller_without_credential_sees_all_and_a_tenant_still_its_own(
    unwalled: Callers, _caller: str, token: str | None, visible: list[str]
) -> None:
    await see_exactly(unwalled, token, visible)


@pytest.mark.usefixtures("rooms")
async def test_without_a_credential_nothing_is_shown_when_one_is_required(walled: Callers) -> None:
    for path in ("/livekit/rooms", "/livekit/rooms/acme-a", "/livekit/rooms/absent", "/livekit/rooms/%20"):
        answer = await walled.rest(path)
        assert answer.status == 401
        assert answer.json["error"] == "missing_auth_header"
        assert answer.header("www-authenticate") == "Bearer"
    assert await walled.grpc_reason("acme-a") == "CREDENTIAL_MISSING"


@pytest.mark.usefixtures("rooms")
async def test_an_unknown_secret_is_refused_in_either_mode(walled: Callers, unwalled: Callers) -> None:
    for callers in (walled, unwalled):
        answer = await callers.rest("/livekit/rooms", "nobodys-secret")
        assert (answer.status, answer.json["error"]) == (401, "unauthorized")
        assert await callers.grpc_reason("acme-a", "nobodys-secret") == "CREDENTIAL_REJECTED"


@pytest.mark.usefixtures("rooms")
async def test_an_operator_acting_for_a_tenant_sees_that_tenants_view(walled: Callers) -> None:
    assert await walled.grpc_names(OPERATOR, tenant_id="acme") == ["acme-a", "acme-b"]
    assert await walled.grpc_reason("acme-a", OPERATOR, tenant_id="acme") == "ok"
    assert await walled.grpc_reason("globex-a", OPERATOR, tenant_id="acme") == "ROOM_NOT_FOUND"
    assert await walled.grpc_reason("nobodys", OPERATOR, tenant_id="acme") == "ROOM_NOT_FOUND"


@pytest.mark.usefixtures("rooms")
async def test_a_tenant_may_name_itself_and_no_other(walled: Callers) -> None:
    assert await walled.grpc_names(ACME, tenant_id="acme") == ["acme-a", "acme-b"]
    for name in ("acme-a", "globex-a", "absent"):
        assert await walled.grpc_reason(name, ACME, tenant_id="globex") == "OPERATOR_ONLY"


async def test_what_a_tenant_sees_follows_its_rooms_at_once(
    walled: Callers, real_livekit: RealLiveKit
) -> None:
    assert await walled.rest_names(ACME) == []
    await real_livekit.create_room("moving", owner="acme")
    assert await walled.rest_names(ACME) == ["moving"]
    await real_livekit.give_room("moving", "globex")
    assert (await walled.rest_names(ACME), await walled.rest_names(GLOBEX)) == ([], ["moving"])
    assert (await walled.rest_room("moving", ACME)).status == 404
    assert (await walled.rest_room("moving", GLOBEX)).status == 200
    await real_livekit.delete_room("moving")
    assert (await walled.rest_names(GLOBEX), (await walled.rest_room("moving", GLOBEX)).status) == ([], 404)
