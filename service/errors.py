"""Owns the domain errors: what can go wrong, in the project's own words, with no transport in them.

Each class is one `ErrorReason` of the contract; `service.error_boundary` maps it to a gRPC status. An
error's arguments are for the log only: a caller gets the class's constant text and nothing else.
"""

from typing import ClassVar, Self

from tenantrooms.v1.error_reason_pb2 import ErrorReason


class DomainError(Exception):
    """The base of all errors that a caller may be told of.

    Attributes:
        reason: the contract's reason for it.
        text: the constant that the caller reads.
        retry_seconds: after how long the caller may come again; None where nothing is said of that.
        holds_for_credential: whether any call with the same credential would fail likewise until then.
        limit: which limit the call is over, for the log; None where it is none.
    """

    reason: ClassVar[ErrorReason.ValueType]
    text: ClassVar[str]
    retry_seconds: int | None = None
    holds_for_credential: bool = False
    limit: str | None = None


class CredentialMissing(DomainError):
    """No credential came with the call, and one is required."""

    reason = ErrorReason.CREDENTIAL_MISSING
    text = "No credential was given"


class CredentialMalformed(DomainError):
    """What came is not one usable Bearer token."""

    reason = ErrorReason.CREDENTIAL_MALFORMED
    text = "The credential is not a usable Bearer token"


class CredentialRejected(DomainError):
    """No verifier accepted the credential."""

    reason = ErrorReason.CREDENTIAL_REJECTED
    text = "The credential was not accepted"


class RequestMalformed(DomainError):
    """The request's bytes are not the message that the rpc takes."""

    reason = ErrorReason.REQUEST_MALFORMED
    text = "The request could not be decoded"


class TenantIdBlank(DomainError):
    """A request names a tenant with a blank id."""

    reason = ErrorReason.TENANT_ID_BLANK
    text = "Tenant id cannot be blank"


class RoomNameBlank(DomainError):
    """A room name that is empty or all white space."""

    reason = ErrorReason.ROOM_NAME_BLANK
    text = "Room name cannot be empty"


class RoomNameTooLong(DomainError):
    """A room name longer than LiveKit lets any room's be."""

    reason = ErrorReason.ROOM_NAME_TOO_LONG
    text = "Room name cannot be longer than 256 bytes"


class PageSizeInvalid(DomainError):
    """A negative page size."""

    reason = ErrorReason.PAGE_SIZE_INVALID
    text = "Page size cannot be negative"


class PageTokenInvalid(DomainError):
    """A page token that was not made for this tenant and consistency."""

    reason = ErrorReason.PAGE_TOKEN_INVALID
    text = "Page token is not valid for this request; start again without one"


class ConsistencyInvalid(DomainError):
    """A consistency that this version does not know."""

    reason = ErrorReason.CONSISTENCY_INVALID
    text = "Consistency is not one that this version knows"


class OperatorOnly(DomainError):
    """A tenant asked for what only an operator may have."""

    reason = ErrorReason.OPERATOR_ONLY
    text = "Only an operator may act for another tenant"


class RoomNotFound(DomainError):
    """No such room for this caller: it does not exist, or is another's, or is nobody's."""

    reason = ErrorReason.ROOM_NOT_FOUND
    text = "Room not found or not accessible"


class RateLimited(DomainError):
    """The tenant has made more calls in a time than it may."""

    reason = ErrorReason.RATE_LIMITED
    text = "Too many requests; try again later"
    retry_seconds = 1
    limit = "tenant_rate"

    @classmethod
    def for_seconds(cls, seconds: int, *, holds_for_credential: bool = False) -> Self:
        """The error of a caller that may come again after so many seconds.

        Args:
            seconds: these.
            holds_for_credential: whether the credential alone says whose rate it is.
        """
        error = cls()
        error.retry_seconds = seconds
        error.holds_for_credential = holds_for_credential
        return error


class Overloaded(DomainError):
    """The process has no place for the call, or its caller has more calls under way than its share."""

    reason = ErrorReason.OVERLOADED
    text = "Too many calls at a time; try again later"
    retry_seconds = 1

    @classmethod
    def by(cls, limit: str) -> Self:
        """The error of a call that is over this limit."""
        error = cls()
        error.limit = limit
        return error


class LiveKitNotConfigured(DomainError):
    """The service was started without LiveKit credentials."""

    reason = ErrorReason.LIVEKIT_NOT_CONFIGURED
    text = "LiveKit service not configured"

    def __init__(
        self, what_to_do: str = "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, which takes a restart"
    ) -> None:
        super().__init__(what_to_do)


class LiveKitUnavailable(DomainError):
    """LiveKit could not be reached, or said that it cannot answer now."""

    reason = ErrorReason.LIVEKIT_UNAVAILABLE
    text = "LiveKit did not answer"


class LiveKitTimedOut(LiveKitUnavailable):
    """LiveKit gave no whole answer in time."""


class LiveKitFailed(DomainError):
    """LiveKit answered with an error, or with something that is no answer."""

    reason = ErrorReason.LIVEKIT_FAILED
    text = "LiveKit could not answer the request"


class LiveKitRefused(LiveKitFailed):
    """LiveKit does not accept the service's own API key."""


class LiveKitClockOff(LiveKitRefused):
    """LiveKit does not accept the key while its clock and ours are far apart."""


class LiveKitAnswerTooLarge(LiveKitFailed):
    """LiveKit's answer is over the size cap."""


class LiveKitRecordCorrupt(LiveKitFailed):
    """LiveKit's answer holds what is no room."""


class AuthServiceUnavailable(DomainError):
    """The auth service or identity provider could not be reached."""

    reason = ErrorReason.AUTH_SERVICE_UNAVAILABLE
    text = "The auth service did not answer"


class AuthServiceTimedOut(AuthServiceUnavailable):
    """The auth service or identity provider gave no whole answer in time."""


class AuthServiceFailed(DomainError):
    """The auth service answered with an error, or with something that is no verdict."""

    reason = ErrorReason.AUTH_SERVICE_FAILED
    text = "The auth service could not answer"


class JwtSigningFailed(DomainError):
    """The question to the auth service could not be signed."""

    reason = ErrorReason.JWT_SIGNING_FAILED
    text = "The question to the auth service could not be signed"


class Unexpected(DomainError):
    """Anything that nobody foresaw; the log has it under the request id."""

    reason = ErrorReason.UNEXPECTED
    text = "Unexpected error"
