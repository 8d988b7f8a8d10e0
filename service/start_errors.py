"""Owns what keeps the service from starting although its settings, as texts, are right.

Raised by whoever opens something at start; `service.__main__` shows it to who starts the service.
"""


class CannotStart(Exception):
    """The service cannot start; the text says why, and which setting changes that."""


class AddressInUse(CannotStart):
    """An address to listen on could not be bound.

    Args:
        address: the address.
        setting: the setting that it comes from.
    """

    def __init__(self, address: str, setting: str) -> None:
        unix = address.startswith("unix:")
        nowhere = "no socket can be made there" if unix else "this machine has no such address"
        super().__init__(
            f"Cannot listen on {address}: another process uses it, or {nowhere}. {setting} changes it."
        )


class AuditLogUnusable(CannotStart):
    """The file of the audit log could not be opened.

    Args:
        reason: the system's word for it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"TENANTROOMS_AUDIT_LOG names a file that cannot be written: {reason}.")
