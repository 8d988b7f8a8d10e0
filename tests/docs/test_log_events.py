"""The page about the log has every record that is written by name, with its level."""

import ast
from collections.abc import Iterator

from service.auth.refusal_log import BY_THE_AUTH_SERVICE, OF_THE_IDENTITY_PROVIDER
from tests.docs.markdown import ROOT, table

LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
ELSEWHERE = {
    "service/auth/refusal_log.py": {
        (event, "info") for event in (*BY_THE_AUTH_SERVICE, *OF_THE_IDENTITY_PROVIDER)
    },
    # What the settings say for themselves.
    "service/serving.py": set(),
    # A call's own record, which has a table of its own.
    "service/call_log.py": set(),
}
"""Modules that take an event from elsewhere, with the events."""


def calls_of_the_log(source: str) -> Iterator[tuple[str | None, str]]:
    """Event and level of each call of a logger; None is an event that is no literal."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            logger = ast.unparse(node.func.value)
            if logger.endswith("_log") or logger.startswith("structlog.get_logger("):
                event = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
                yield event if isinstance(event, str) else None, node.func.attr


def written() -> set[tuple[str, str]]:
    """Event and level of every record that is written by name."""
    found: set[tuple[str, str]] = set()
    taken = {}
    for package in ("common", "service", "edge"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            for event, level in calls_of_the_log(path.read_text("utf-8")):
                if event is None:
                    taken[name] = ELSEWHERE.get(name)
                else:
                    found.add((event, level))
    assert taken == ELSEWHERE
    return found.union(*ELSEWHERE.values())


def test_the_page_about_the_log_has_every_event_with_its_level() -> None:
    rows = [
        (first.code, tuple(level.text.split(", ")))
        for first, level, _ in table("docs/reference/logs.md", "Other records")
        if first.code
    ]
    documented = {
        pair
        for events, levels in rows
        for pair in zip(events, levels * len(events) if len(levels) == 1 else levels, strict=True)
    }
    assert documented == written()


def test_a_call_of_any_logger_is_found() -> None:
    source = (
        '_log.info("a", x=1)\nstructlog.get_logger(__name__).error("b")\n_log.warning(text)\n_log.bind()\n'
    )
    assert list(calls_of_the_log(source)) == [("a", "info"), ("b", "error"), (None, "warning")]
