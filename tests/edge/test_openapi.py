"""The OpenAPI document: valid, complete, and true of what the edge answers."""

import json
from typing import Any

import grpc
import jsonschema_rs
import pytest
import schemathesis

from edge.app import create_app
from edge.asgi import Edge
from edge.errors import Route, answers_of
from edge.settings import EdgeSettings
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.asgi_calls import Exchange, Reply, ask, run, started
from tests.edge.fake_client import FakeClient, failure
from tests.edge.test_errors import REASONS

ROUTES = {"/": None, "/livekit/rooms": Route.LIST, "/livekit/rooms/{room_name}": Route.DETAILS}
TARGETS = {"/": b"/", "/livekit/rooms": b"/livekit/rooms", "/livekit/rooms/{room_name}": b"/livekit/rooms/a"}


@pytest.fixture
async def document(app: Edge) -> dict[str, Any]:
    reply = await ask(app, b"/docs/openapi.json")
    assert (reply.status, reply.header("content-type")) == (200, "application/json")
    found = reply.json
    assert isinstance(found, dict)
    return found


def responses(document: dict[str, Any], path: str) -> dict[int, dict[str, Any]]:
    return {int(status): spec for status, spec in document["paths"][path]["get"]["responses"].items()}


def body_of(response: dict[str, Any]) -> dict[str, Any]:
    (media_type,) = response["content"].items()
    assert media_type[0] == "application/json"
    found = media_type[1]
    assert isinstance(found, dict)
    return found


def check(document: dict[str, Any], path: str, reply: Reply) -> None:
    """The answer is one that the document describes: status, headers and body."""
    documented = responses(document, path)[reply.status]
    for name in documented["headers"]:
        assert reply.header(name) is not None, name
    schema = {**body_of(documented)["schema"], "components": document["components"]}
    jsonschema_rs.validator_for(schema).validate(reply.json)


def test_it_is_a_valid_document(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()


def test_it_has_the_three_routes_and_no_others(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == set(ROUTES)
    for item in document["paths"].values():
        assert set(item) == {"get"}
        assert item["get"]["summary"]
        assert item["get"]["description"]
    assert {item["get"]["operationId"] for item in document["paths"].values()} == {
        "getStatus",
        "listRooms",
        "getRoom",
    }


@pytest.mark.parametrize(("path", "route"), ROUTES.items())
def test_each_route_has_exactly_the_statuses_and_examples_of_the_error_table(
    document: dict[str, Any], path: str, route: Route | None
) -> None:
    documented = {
        (status, json.dumps(example["value"]))
        for status, response in responses(document, path).items()
        if status != 200
        for example in body_of(response)["examples"].values()
    }
    assert documented == {
        (answer.status, json.dumps(json.loads(answer.body))) for answer in answers_of(route)
    }


def test_the_statuses_spelt_out(document: dict[str, Any]) -> None:
    own = {200, 400, 408, 413, 414, 431, 500}
    assert set(responses(document, "/")) == own
    assert set(responses(document, "/livekit/rooms")) == own | {401, 403, 429, 502, 503}
    assert set(responses(document, "/livekit/rooms/{room_name}")) == own | {401, 403, 404, 429, 502, 503}


@pytest.mark.parametrize("path", ROUTES)
def test_every_example_fits_its_schema(document: dict[str, Any], path: str) -> None:
    for response in responses(document, path).values():
        media_type = body_of(response)
        schema = {**media_type["schema"], "components": document["components"]}
        assert media_type["examples"]
        for example in media_type["examples"].values():
            jsonschema_rs.validator_for(schema).validate(example["value"])


def test_every_field_of_an_answer_is_required_and_none_may_be_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    fields = {
        name: list(schemas[name]["properties"]) for name in ("RoomList", "Summary", "Details", "Participant")
    }
    assert fields == {
        "RoomList": ["rooms"],
        "Summary": ["name", "num_participants", "creation_time"],
        "Details": [
            "sid",
            "name",
            "num_participants",
            "max_participants",
            "creation_time",
            "metadata",
            "active_recording",
            "participants",
        ],
        "Participant": [
            "sid",
            "identity",
            "name",
            "state",
            "kind",
            "joined_at",
            "metadata",
            "attributes",
            "is_publisher",
        ],
    }
    for name, properties in fields.items():
        assert set(schemas[name]["required"]) == set(properties)
    assert "null" not in json.dumps({name: schemas[name] for name in fields})
    assert set(schemas["Participant"]["properties"]["state"]["enum"]) == {
        "JOINING",
        "JOINED",
        "ACTIVE",
        "DISCONNECTED",
        "UNKNOWN",
    }
    assert set(schemas["Participant"]["properties"]["kind"]["enum"]) == {
        "STANDARD",
        "INGRESS",
        "EGRESS",
        "SIP",
        "AGENT",
        "UNKNOWN",
    }


def test_both_places_of_a_credential_are_described(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("query", "api_key")
    for path, route in ROUTES.items():
        expected: list[dict[str, list[str]]] | None = [{"bearer": []}, {"apiKey": []}, {}] if route else None
        assert document["paths"][path]["get"].get("security") == expected


def test_the_room_s_name_is_described(document: dict[str, Any]) -> None:
    (parameter,) = document["paths"]["/livekit/rooms/{room_name}"]["get"]["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("room_name", "path", True)
    assert "percent-encoded" in parameter["description"]


@pytest.mark.parametrize("path", ["/livekit/rooms", "/livekit/rooms/{room_name}"])
async def test_every_failure_is_answered_as_documented(
    app: Edge, client: FakeClient, document: dict[str, Any], path: str
) -> None:
    for reason in [None, *REASONS]:
        for code in grpc.StatusCode:
            client.failure = failure(code, reason)
            check(document, path, await ask(app, TARGETS[path]))


@pytest.mark.parametrize("path", ROUTES)
async def test_successes_and_refusals_are_answered_as_documented(
    app: Edge, client: FakeClient, document: dict[str, Any], path: str
) -> None:
    client.pages = [pb.ListRoomsResponse(rooms=[pb.RoomSummary(name="a", num_participants=3)])]
    target = TARGETS[path]
    replies = [
        await ask(app, target),
        await ask(app, target + b"?" + b"x" * 9_000),
        await ask(app, target, headers=[(b"x", b"x" * 40_000)]),
        await ask(app, target, body=[b"x" * 70_000]),
    ]
    assert [reply.status for reply in replies] == [200, 414, 431, 413]
    if path != "/":
        replies.append(await ask(app, target + b"?api_key=a&api_key=b"))
        assert replies[-1].status == 401
    for reply in replies:
        check(document, path, reply)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_that_does_not_end_is_answered_as_documented(
    client: FakeClient, document: dict[str, Any], path: str
) -> None:
    settings = EdgeSettings.from_env({"TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "0.1"})
    exchange = Exchange(TARGETS[path], body=[b"x"], body_is_stuck=True)
    async with started(create_app(settings, lambda: client)) as impatient:
        await run(impatient, exchange)
    assert exchange.reply.status == 408
    check(document, path, exchange.reply)
