"""Who calls and what they may see: the step from a principal to the scope of one request."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.principal import (
    AllRooms,
    Anonymous,
    OneTenant,
    Operator,
    Principal,
    Scope,
    Tenant,
    TenantId,
    is_tenant_id,
    scope_of,
)
from service.errors import OperatorOnly, TenantIdBlank

ACME, GLOBEX = TenantId("acme"), TenantId("globex")

SCOPES: list[tuple[Principal, str | None, Scope]] = [
    # caller             asks for   may see
    (Tenant(ACME),       None,      OneTenant(ACME)),
    (Tenant(ACME),       "acme",    OneTenant(ACME)),
    (Operator("acme"),   None,      AllRooms()),
    (Operator("acme"),   "acme",    OneTenant(ACME)),
    (Operator("acme"),   "globex",  OneTenant(GLOBEX)),
    (Anonymous(),        None,      AllRooms()),
    (Anonymous(),        "globex",  OneTenant(GLOBEX)),
]  # fmt: skip


@pytest.mark.parametrize(("principal", "requested", "scope"), SCOPES)
def test_the_scope_of_a_request(principal: Principal, requested: str | None, scope: Scope) -> None:
    assert scope_of(principal, requested) == scope


BLANK = ["", " ", "\t\r\n", "\u00a0", "\u2003\u3000"]


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("principal", [Tenant(ACME), Operator("on-call"), Anonymous()])
def test_a_blank_tenant_is_refused_and_never_means_all(principal: Principal, blank: str) -> None:
    with pytest.raises(TenantIdBlank):
        scope_of(principal, blank)


# Ids that a careless comparison would take for one another (MATRIX I3).
LOOK_ALIKES = [
    "acme", "Acme", "ACME", "acm", "acme2", "acme ", " acme", "acme\0", "\ufeffacme", "acme\u200b",
    "\u0430cme",
    unicodedata.normalize("NFC", "caf\u00e9"), unicodedata.normalize("NFD", "caf\u00e9"), "cafe",
    "stra\u00dfe", "strasse", "STRASSE", "\ufb01n", "fin", "\uff11", "1", "*", "%", "null", "None", "all",
]  # fmt: skip


def test_a_tenant_may_not_act_for_a_look_alike() -> None:
    for own, other in itertools.permutations(LOOK_ALIKES, 2):
        with pytest.raises(OperatorOnly):
            scope_of(Tenant(TenantId(own)), other)


@given(own=st.text(min_size=1), requested=st.none() | st.text())
def test_a_tenant_gets_its_own_scope_or_none(own: str, requested: str | None) -> None:
    try:
        scope = scope_of(Tenant(TenantId(own)), requested)
    except (OperatorOnly, TenantIdBlank):
        assert requested != own or not own.strip()
    else:
        assert scope == OneTenant(TenantId(own))


@pytest.mark.parametrize("good", ["a", "acme", "a b", "caf\u00e9", "\U0001f600", "0", "*", "x" * 1024])
def test_what_can_be_a_tenant_id(good: str) -> None:
    assert is_tenant_id(good)


@pytest.mark.parametrize("bad", [*BLANK, " a", "a ", "a\n", "\u3000a", "\ud800", "a\udfff", "x" * 1025])
def test_what_cannot_be_a_tenant_id(bad: str) -> None:
    assert not is_tenant_id(bad)
