"""Owns what is counted of calls: how many, with which outcome, how long, and how many are under way.

Step before: `service.call_watch` tells of each call. Step after: `service.metrics` shows the registry.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry

from service.authentication import POLICIES
from service.plain_metrics import Collected, Counts, Histogram, Level

RPCS: Final = ("ListRooms", "GetRoom")
"""The rpcs whose time is measured, and whose every outcome is shown from the start."""

OTHER: Final = "other"
"""Stands for the tenants beyond the bound."""

PROBLEMS: Final = (
    *("key_refused", "clock_off", "answer_too_large", "corrupt_record"),
    *("signing_failed", "not_configured"),
)
"""What only an operator can put right; docs/how-to/observe.md says how."""

_NAMES: Final = {method: method.rpartition("/")[2] for method in POLICIES}


def rpc_name(method: str) -> str:
    """The name of an rpc without its service; one of few, as no other rpc is ever served."""
    return _NAMES.get(method) or method.rpartition("/")[2]


class CallMetrics:
    """Counts calls.

    Args:
        registry: shows them.
        outcomes: every code and reason that a call can end with by this service's own table.
        most_tenants: how many tenants are told apart; 0 is none, and no tenant's id is shown.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        outcomes: Iterable[tuple[str, str]] = (),
        most_tenants: int = 0,
    ) -> None:
        known = [(rpc, code, reason) for rpc in RPCS for code, reason in (("OK", ""), *outcomes)]
        self._calls = Counts(
            "tenantrooms_calls", "Calls that have ended.", ("rpc", "code", "reason"), sorted(known)
        )
        self._seconds = Histogram(
            "tenantrooms_call_duration_seconds", "How long calls took in the service.", "rpc", RPCS
        )
        self.in_flight = Level("tenantrooms_calls_in_flight", "Calls that are being served.")
        self._problems = Counts(
            "tenantrooms_operator_problems",
            "Calls that failed for what only an operator can put right.",
            ("problem",),
            ((problem,) for problem in PROBLEMS),
        )
        self._most_tenants = most_tenants
        self._tenants: set[str] = set()
        self._by_tenant = Counts(
            "tenantrooms_tenant_calls", "Calls that have ended, by tenant.", ("tenant", "code")
        )
        Collected(registry, (self._calls, self._seconds, self.in_flight, self._problems))
        if most_tenants:
            Collected(registry, (self._by_tenant,))

    def ended(self, rpc: str, code: str, reason: str, seconds: float, tenant: str | None) -> None:
        """A call has ended.

        Args:
            rpc: its name, as `rpc_name` gives it.
            code: the name of its gRPC status.
            reason: the name of its `ErrorReason`, or empty.
            seconds: how long it took.
            tenant: who called; None for operators and callers without a name.
        """
        self._calls.add(rpc, code, reason)
        if rpc in RPCS:
            self._seconds.observe(rpc, seconds)
        if self._most_tenants and tenant is not None:
            self._by_tenant.add(self._label(tenant), code)

    def needs_an_operator(self, problem: str) -> None:
        """A call failed for one of `PROBLEMS`."""
        self._problems.add(problem)

    def _label(self, tenant: str) -> str:
        if tenant in self._tenants:
            return tenant
        if len(self._tenants) >= self._most_tenants:
            return OTHER
        self._tenants.add(tenant)
        return tenant
