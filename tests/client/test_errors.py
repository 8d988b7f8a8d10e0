"""What a failed call raises: by its code, with the reason and request id where they are TenantRooms' own."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

import tenantrooms_client as client
from tenantrooms_client.errors import error_from

CLASSES: dict[StatusCode, type[client.TenantRoomsError]] = {
    StatusCode.CANCELLED: client.TenantRoomsError,
    StatusCode.UNKNOWN: client.TenantRoomsError,
    StatusCode.INVALID_ARGUMENT: client.InvalidArgument,
    StatusCode.DEADLINE_EXCEEDED: client.DeadlineExceeded,
    StatusCode.NOT_FOUND: client.NotFound,
    StatusCode.ALREADY_EXISTS: client.TenantRoomsError,
    StatusCode.PERMISSION_DENIED: client.PermissionDenied,
    StatusCode.RESOURCE_EXHAUSTED: client.ResourceExhausted,
    StatusCode.FAILED_PRECONDITION: client.FailedPrecondition,
    StatusCode.ABORTED: client.TenantRoomsError,
    StatusCode.OUT_OF_RANGE: client.TenantRoomsError,
    StatusCode.UNIMPLEMENTED: client.TenantRoomsError,
    StatusCode.INTERNAL: client.Internal,
    StatusCode.UNAVAILABLE: client.Unavailable,
    StatusCode.DATA_LOSS: client.TenantRoomsError,
    StatusCode.UNAUTHENTICATED: client.Unauthenticated,
}


def test_the_table_has_every_code_that_can_fail() -> None:
    assert set(CLASSES) == set(StatusCode) - {StatusCode.OK}


def info(reason: str = "ROOM_NOT_FOUND", domain: str = "tenantrooms") -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(ErrorInfo(reason=reason, domain=domain))
    return packed


def failure(code: StatusCode, *trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), "the text")


def with_details(code: StatusCode, *details: AnyMessage) -> grpc.aio.AioRpcError:
    status = Status(code=code.value[0], message="the text", details=details)
    return failure(code, ("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", "id-1"))


@pytest.mark.parametrize("code", CLASSES)
def test_each_code_raises_its_class_with_all_that_is_known(code: StatusCode) -> None:
    error = error_from(with_details(code, info()))
    assert type(error) is CLASSES[code]
    assert (error.code, error.reason) == (code, "ROOM_NOT_FOUND")
    assert (error.message, error.request_id) == ("the text", "id-1")


@pytest.mark.parametrize("code", CLASSES)
def test_an_error_from_elsewhere_has_no_reason_and_no_request_id(code: StatusCode) -> None:
    error = error_from(failure(code))
    assert type(error) is CLASSES[code]
    assert (error.reason, error.request_id) == (None, None)


def test_a_reason_that_is_newer_than_the_client_is_passed_on() -> None:
    assert error_from(with_details(StatusCode.ABORTED, info("NOT_YET_INVENTED"))).reason == "NOT_YET_INVENTED"


def test_our_reason_is_found_among_the_details_of_others() -> None:
    retry = AnyMessage()
    retry.Pack(RetryInfo())
    details = (retry, info("QUOTA", "googleapis.com"), info("OVERLOADED"))
    assert error_from(with_details(StatusCode.RESOURCE_EXHAUSTED, *details)).reason == "OVERLOADED"


NOT_OURS = {
    "another domain": with_details(StatusCode.UNAVAILABLE, info(domain="envoyproxy.io")),
    "a look-alike domain": with_details(StatusCode.UNAVAILABLE, info(domain="TenantRooms")),
    "no details": with_details(StatusCode.UNAVAILABLE),
    "another code inside": failure(
        StatusCode.UNAVAILABLE,
        ("grpc-status-details-bin", Status(code=5, message="the text", details=[info()]).SerializeToString()),
    ),
    "another text inside": failure(
        StatusCode.UNAVAILABLE,
        ("grpc-status-details-bin", Status(code=14, message="other", details=[info()]).SerializeToString()),
    ),
    "no status": failure(StatusCode.UNAVAILABLE, ("grpc-status-details-bin", b"\xff\xff")),
    "a detail that is no message": with_details(
        StatusCode.UNAVAILABLE, AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    ),
    "a detail of no type": with_details(StatusCode.UNAVAILABLE, AnyMessage(value=b"\xff")),
}


@pytest.mark.parametrize("failed", NOT_OURS.values(), ids=NOT_OURS)
def test_details_that_are_not_ours_give_no_reason(failed: grpc.aio.AioRpcError) -> None:
    error = error_from(failed)
    assert isinstance(error, client.Unavailable)
    assert error.reason is None


def test_an_error_reads_well() -> None:
    assert str(error_from(with_details(StatusCode.NOT_FOUND, info()))) == (
        "NOT_FOUND (ROOM_NOT_FOUND): the text [request id-1]"
    )
    assert str(error_from(failure(StatusCode.UNAVAILABLE))) == "UNAVAILABLE: the text"
