"""Owns what the settings of both processes have in common: how they are refused, and gRPC's own log.

Step before: nothing. Step after: `service.settings` and `edge.settings` read the environment.
"""

import os


class SettingsError(Exception):
    """The environment does not hold settings that a process can start with.

    Attributes:
        problems: one line for each reason; none holds a value that was given.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def quiet_grpc() -> None:
    """Keeps gRPC's own log to errors, unless GRPC_VERBOSITY is set. Call it before grpc is imported.

    Below that gRPC writes lines that are no JSON, among them what peers send, as it is: anyone could write
    lines into the log.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
