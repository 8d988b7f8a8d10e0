"""Owns the words for who calls and what they may see: principals and scopes.

Step before: a verifier (`service.auth`) names the principal. Step after: `service.rooms` narrows it to
the scope of one request with `scope_of`, and everything below looks at the scope alone.
"""

from dataclasses import dataclass
from typing import NewType

from service.errors import OperatorOnly, TenantIdBlank

TenantId = NewType("TenantId", str)
"""The id of a tenant, compared code point for code point; never blank or padded."""

MAX_TENANT_ID_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class Tenant:
    """A caller that is one tenant."""

    tenant_id: TenantId


@dataclass(frozen=True, slots=True)
class Operator:
    """A caller whose credential says that it may see all rooms, and act for any tenant."""

    operator_id: str


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A caller that presented nothing to a service that lets such callers see all rooms.

    Exists only with AUTH_REQUIRED=false, and for whom the auth service accepts without an id where
    TENANTROOMS_AUTH_SERVICE_ALLOW_NO_ID is on.
    """


Principal = Tenant | Operator | Anonymous


@dataclass(frozen=True, slots=True)
class OneTenant:
    """The rooms of one tenant, no others."""

    tenant_id: TenantId


@dataclass(frozen=True, slots=True)
class AllRooms:
    """Every room, whoever owns it, the ownerless included. Never a default: always chosen by name."""


Scope = OneTenant | AllRooms


def is_tenant_id(value: str) -> bool:
    """Whether this text can be a tenant's id: not blank, not padded, valid Unicode, not absurdly long."""
    try:
        value.encode()
    except UnicodeEncodeError:  # an unpaired surrogate, which no room's metadata can hold either
        return False
    return bool(value) and value == value.strip() and len(value) <= MAX_TENANT_ID_CHARACTERS


def scope_of(principal: Principal, requested_tenant: str | None) -> Scope:
    """What this request may see: the caller's own view, or that of the tenant it names.

    Raises:
        TenantIdBlank: a tenant is named, with a blank id.
        OperatorOnly: a tenant named another tenant.
    """
    if requested_tenant is None:
        match principal:
            case Tenant(tenant_id):
                return OneTenant(tenant_id)
            case Operator() | Anonymous():
                return AllRooms()
    if not requested_tenant.strip():
        raise TenantIdBlank
    match principal:
        case Tenant(tenant_id) if tenant_id != requested_tenant:
            raise OperatorOnly
        case _:
            return OneTenant(TenantId(requested_tenant))
