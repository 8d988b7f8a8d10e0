"""Owns what LiveKit holds while something is measured: how many rooms, and whose each one is.

Step before: `benchmarks.plan` chooses the sizes. Step after: `benchmarks.upstream` fills LiveKit's store.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CREATED", "SIZES", "TENANTS", "Store", "Tenant", "secret_of", "tenant_name"]

TENANTS: Final = 64
"""How many tenants there are where the callers are of many, and how many credentials always."""

SIZES: Final = {10: 10, 100: 10, 1_000: 100, 10_000: 100, 100_000: 100}
"""Rooms of the whole deployment to rooms of the tenant that is measured."""

CREATED: Final = 1_700_000_000
"""When every room was created, in Unix seconds."""

FOREIGN_OWNERS: Final = 1_000

Tenant = int
"""A tenant's number, from 0."""


def tenant_name(tenant: Tenant) -> str:
    """The tenant's id, which is in its rooms' metadata."""
    return f"tenant-{tenant:02}"


def secret_of(tenant: Tenant) -> str:
    """The tenant's API secret."""
    return f"benchmark-secret-of-{tenant_name(tenant)}"


@dataclass(frozen=True, slots=True)
class Store:
    """The rooms of one deployment.

    Attributes:
        rooms: how many there are in all; one of `SIZES`.
        tenants: how many tenants call, 1 or `TENANTS`; all of them own equally many rooms where there are
            enough, and at least one each as far as the rooms go. All others belong to foreign tenants.
    """

    rooms: int
    tenants: int

    @property
    def own(self) -> int:
        """How many rooms a tenant that calls owns; one or none where there are fewer rooms than tenants."""
        return min(SIZES[self.rooms], max(1, self.rooms // self.tenants))

    def tenant_of(self, number: int) -> Tenant | None:
        """The tenant that owns the room with this number; None for a foreign one."""
        return number % self.tenants if number < self.own * self.tenants else None

    def owner_of(self, number: int) -> str:
        """The owner's id."""
        tenant = self.tenant_of(number)
        return f"foreign-{number % FOREIGN_OWNERS:03}" if tenant is None else tenant_name(tenant)

    def name_of(self, number: int) -> str:
        """The room's name; names sort as numbers do."""
        return f"room-{number:06}"

    def numbers_of(self, tenant: Tenant) -> Iterator[int]:
        """The numbers of a tenant's rooms, ascending."""
        return iter(range(tenant, min(self.rooms, self.own * self.tenants), self.tenants))

    def names_of(self, tenant: Tenant) -> list[str]:
        """The names of a tenant's rooms, sorted."""
        return [self.name_of(number) for number in self.numbers_of(tenant)]
