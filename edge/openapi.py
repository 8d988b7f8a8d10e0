"""Owns what the OpenAPI document says of the routes: every status with its examples, headers, credentials.

Statuses and examples come from the error table in `errors`, so that the document cannot lag behind it.
After it: `routes` and `docs` hand it to Litestar.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import (
    Components,
    Example,
    OpenAPIHeader,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Schema,
    SecurityScheme,
)

from edge.errors import Answer, Route, answers_of
from edge.room_json import Details, Health, Participant, RoomList, Summary

API_VERSION: Final = "1"

DESCRIPTION: Final = """\
Which LiveKit rooms belong to the caller. Send the credential as `Authorization: Bearer <token>`, or else as
`?api_key=<token>`. A room's name stands percent-encoded in the path: a slash in it is `%2F`.

Every answer carries `X-Request-Id` (yours, if it is 1 to 128 characters `A-Za-z0-9._-`) and
`Cache-Control: no-store`. `HEAD` answers as `GET` does, without a body."""

SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"apiKey": []}, {}]
"""Either place will do; none at all where the installation does not require a credential."""


class Error(msgspec.Struct, frozen=True):
    """Why there is no answer. An authentication error's `error` is a code, and `message` its text."""

    error: str
    message: (
        Annotated[str, msgspec.Meta(description="With authentication errors only.")] | msgspec.UnsetType
    ) = msgspec.UNSET


_HEADERS: Final = {
    "WWW-Authenticate": "`Bearer`.",
    "Retry-After": "Seconds after which to try again.",
}
_REQUEST_ID: Final = "The id of this request in both logs."

_ROOM_LIST_EXAMPLE: Final = RoomList(
    rooms=[Summary(name="stand-up", num_participants=2, creation_time=1_767_261_600)]
)
_DETAILS_EXAMPLE: Final = Details(
    sid="RM_4xTqB2vYzKcP",
    name="stand-up",
    num_participants=1,
    max_participants=0,
    creation_time=1_767_261_600,
    metadata='{"auth_id":"acme"}',
    active_recording=False,
    participants=[
        Participant(
            sid="PA_hG7sLw9dQmRe",
            identity="user-17",
            name="Desk 17",
            state="ACTIVE",
            kind="STANDARD",
            joined_at=1_767_261_642,
            metadata="",
            attributes={"desk": "17"},
            is_publisher=True,
        )
    ],
)


@dataclass
class DocumentedOperation(Operation):
    """An operation with what Litestar's route decorators cannot say: header fields and the room's name."""

    def __post_init__(self) -> None:
        """Adds them."""
        for status, response in (self.responses or {}).items():
            if isinstance(response, OpenAPIResponse):
                response.headers = _headers(int(status))
        for parameter in self.parameters or []:
            if isinstance(parameter, Parameter):
                parameter.description = "The room's name, exactly as LiveKit holds it, percent-encoded."
                parameter.schema = Schema(type=OpenAPIType.STRING, min_length=1)
                parameter.example = "stand-up"


def home_responses() -> dict[int, ResponseSpec]:
    """The documented answers of `/`."""
    return {200: _success(Health, Health("OK"), "Up."), **_errors(answers_of(None))}


def room_responses(route: Route) -> dict[int, ResponseSpec]:
    """The documented answers of a room route."""
    success = {
        Route.LIST: _success(RoomList, _ROOM_LIST_EXAMPLE, "The rooms."),
        Route.DETAILS: _success(Details, _DETAILS_EXAMPLE, "The room."),
    }
    return {200: success[route], **_errors(answers_of(route))}


def security_components() -> Components:
    """The two places of a credential."""
    return Components(
        security_schemes={
            "bearer": SecurityScheme(type="http", scheme="bearer", description="Wins over `api_key`."),
            "apiKey": SecurityScheme(
                type="apiKey", name="api_key", security_scheme_in="query", description="The same token."
            ),
        }
    )


def _success(model: type[Any], example: Any, description: str) -> ResponseSpec:
    return ResponseSpec(
        model,
        generate_examples=False,
        description=description,
        examples=[Example(value=msgspec.to_builtins(example))],
    )


def _errors(answers: Iterable[Answer]) -> dict[int, ResponseSpec]:
    by_status: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_status[answer.status].append(answer)
    return {
        status: ResponseSpec(
            Error,
            generate_examples=False,
            description=HTTPStatus(status).phrase + ".",
            examples=[_example(answer) for answer in by_status[status]],
        )
        for status in sorted(by_status)
    }


def _example(answer: Answer) -> Example:
    value = msgspec.json.decode(answer.body)
    # No `id`: Litestar would write it into the document, where it may not be.
    return Example(summary=value["error"], value=value)


def _headers(status: int) -> dict[str, Any]:
    texts = {"X-Request-Id": _REQUEST_ID}
    if status == 401:
        texts["WWW-Authenticate"] = _HEADERS["WWW-Authenticate"]
    if status == 429:
        texts["Retry-After"] = _HEADERS["Retry-After"]
    return {
        name: OpenAPIHeader(description=text, required=True, schema=Schema(type=OpenAPIType.STRING))
        for name, text in texts.items()
    }
