"""Delegated authentication over the whole way, with an auth service that verifies the signature."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.livekit_double import LiveKitDouble

KEY = p256_key()


@pytest.fixture(scope="module")
async def livekit() -> AsyncIterator[LiveKitDouble]:
    async with LiveKitDouble() as double:
        double.put_room("own / 1", owner="acme")
        double.put_room("foreign", owner="globex")
        yield double


@pytest.fixture(scope="module")
async def shared(
    livekit: LiveKitDouble, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[AuthServiceDouble, Callers]]:
    folder = tmp_path_factory.mktemp("delegated")
    (folder / "key.pem").write_bytes(pem(KEY))
    async with AuthServiceDouble(KEY, {"token-of-acme": "acme"}) as auth_service:
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(folder / "key.pem"),
            "AUTH_TIMEOUT_SECONDS": "1",
            "AUTH_API_SECRETS_JSON": None,
        }
        async with running(livekit, folder, settings) as callers:
            yield auth_service, callers


@pytest.fixture
def auth_service(shared: tuple[AuthServiceDouble, Callers]) -> AuthServiceDouble:
    auth_service, _ = shared
    auth_service.answer = None
    auth_service.asked.clear()
    auth_service.gate.set()
    return auth_service


@pytest.fixture
def callers(shared: tuple[AuthServiceDouble, Callers]) -> Callers:
    return shared[1]


@pytest.mark.usefixtures("auth_service")
async def test_a_caller_sees_the_rooms_of_the_tenant_that_the_auth_service_names(callers: Callers) -> None:
    assert await callers.rest_names("token-of-acme") == ["own / 1"]
    assert await callers.grpc_names("token-of-acme") == ["own / 1"]
    assert (await callers.rest_room("own / 1", "token-of-acme")).status == 200
    assert (await callers.rest_room("foreign", "token-of-acme")).status == 404


async def test_the_auth_service_is_told_the_request(
    auth_service: AuthServiceDouble, callers: Callers
) -> None:
    await callers.rest_room("own / 1", "token-of-acme")
    await callers.rest(
        "/livekit/rooms?api_key=token-of-acme&x=1",
        None,
        ("User-Agent", "an-sdk/1"),
        ("Accept-Language", "de"),
        ("Cookie", "session=1"),
        ("X-Api-Key", "k"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Sayna-User", "u"),
    )
    details, listed = (asked.auth_data for asked in auth_service.asked)
    assert (details["request_method"], details["request_path"]) == ("GET", "/livekit/rooms/own%20%2F%201")
    assert listed == {
        "token": "token-of-acme",
        "request_body": {},
        "request_headers": {
            "connection": "close",
            "user-agent": "an-sdk/1",
            "accept-language": "de",
        },
        "request_path": "/livekit/rooms",
        "request_method": "GET",
    }


async def test_a_name_that_no_room_can_have_is_judged_after_its_caller(
    auth_service: AuthServiceDouble, callers: Callers
) -> None:
    for token, status in (("nobody's", 401), ("token-of-acme", 400)):
        assert (await callers.rest_room("n" * 2000, token)).status == status
    paths = {asked.auth_data["request_path"] for asked in auth_service.asked}
    assert paths == {"/livekit/rooms/" + "n" * 256}


@pytest.mark.parametrize(
    ("answered", "status", "code"),
    [
        (401, 401, "unauthorized"),
        (403, 401, "unauthorized"),
        (200, 401, "unauthorized"),
        (204, 502, "auth_service_error"),
        (302, 502, "auth_service_error"),
        (500, 502, "auth_service_error"),
    ],
)
async def test_what_the_auth_service_says_has_the_documented_status(
    auth_service: AuthServiceDouble, callers: Callers, answered: int, status: int, code: str
) -> None:
    auth_service.answer = lambda: web.Response(status=answered)
    for path in ("/livekit/rooms", "/livekit/rooms/own"):
        answer = await callers.rest(path, "token-of-acme")
        assert (answer.status, answer.json["error"], answer.json.keys()) == (
            status,
            code,
            {"error", "message"},
        )


async def test_an_auth_service_that_does_not_answer_is_503(
    auth_service: AuthServiceDouble, callers: Callers
) -> None:
    auth_service.gate.clear()
    answer = await callers.rest("/livekit/rooms", "token-of-acme")
    assert (answer.status, answer.json["error"]) == (503, "auth_service_unavailable")


async def test_nothing_is_asked_about_a_call_without_a_usable_credential(
    auth_service: AuthServiceDouble, callers: Callers
) -> None:
    assert (await callers.rest("/livekit/rooms")).json["error"] == "missing_auth_header"
    assert (await callers.rest("/livekit/rooms?api_key=")).json["error"] == "invalid_auth_header"
    assert auth_service.asked == []


async def test_a_blank_room_name_is_refused_after_the_credential(
    auth_service: AuthServiceDouble, callers: Callers
) -> None:
    assert (await callers.rest("/livekit/rooms/%20", "token-of-nobody")).status == 401
    assert (await callers.rest("/livekit/rooms/%20", "token-of-acme")).status == 400
    assert [asked.auth_data["request_path"] for asked in auth_service.asked] == ["/livekit/rooms/%20"] * 2


@pytest.mark.parametrize("falls_through", [False, True])
async def test_beside_api_secrets_the_auth_service_is_asked_only_where_that_is_set(
    livekit: LiveKitDouble,
    auth_service: AuthServiceDouble,
    tmp_path_factory: pytest.TempPathFactory,
    falls_through: bool,
) -> None:
    folder = tmp_path_factory.mktemp("both")
    (folder / "key.pem").write_bytes(pem(KEY))
    settings = {
        "AUTH_REQUIRED": "true",
        "AUTH_SERVICE_URL": auth_service.url,
        "AUTH_SIGNING_KEY_PATH": str(folder / "key.pem"),
        "TENANTROOMS_AUTH_SERVICE_AFTER_API_SECRETS": str(falls_through).lower(),
    }
    async with running(livekit, folder, settings) as callers:
        assert await callers.rest_names(ACME) == ["own / 1"]
        assert auth_service.asked == []
        answer = await callers.rest("/livekit/rooms", "token-of-acme")
        assert answer.status == (200 if falls_through else 401)
        assert len(auth_service.asked) == falls_through
