"""Owns the words for how old the reading may be that a list rests on; `Consistency` in the contract."""

from enum import Enum


class Consistency(Enum):
    """FULL: the reading began after the call arrived. MINIMIZE_LATENCY: what is added may show late."""

    FULL = "full"
    MINIMIZE_LATENCY = "minimize_latency"
