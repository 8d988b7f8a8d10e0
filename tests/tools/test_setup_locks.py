"""The lock files pin everything by hash, say nothing of their origin, and match pyproject.toml."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
RUNTIME, DEVELOPMENT, BENCH = "requirements.txt", "requirements-dev.txt", "requirements-bench.txt"
TRACES, AUDIT = "requirements-traces.txt", "requirements-audit.txt"
LOCKS = [RUNTIME, TRACES, DEVELOPMENT, BENCH, AUDIT, "tools/livekit/requirements-go.txt"]


def locked(lock: str) -> dict[str, set[str]]:
    """Name to the pinned versions; a package may have one for each Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def group(name: str) -> Iterator[str]:
    for entry in pyproject()["dependency-groups"][name]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from group(entry["include-group"])


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_its_hashes(lock: str) -> None:
    text = re.sub(r"\\\n\s*", " ", (ROOT / lock).read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+==\S+ ", line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_and_no_path_of_a_machine_is_in_a_lock(lock: str) -> None:
    for line in (ROOT / lock).read_text("utf-8").splitlines():
        assert not re.search(r"://|--(extra-)?index|--find-links|(^|\s)/|@ ", line), line


@pytest.mark.parametrize("lock", LOCKS)
def test_django_is_in_no_lock(lock: str) -> None:
    assert "django" not in locked(lock)


@pytest.mark.parametrize("wanted", pyproject()["project"]["dependencies"])
def test_every_dependency_is_in_both_locks_at_a_version_that_it_allows(wanted: str) -> None:
    requirement = Requirement(wanted)
    for lock in (RUNTIME, DEVELOPMENT):
        versions = locked(lock)[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), lock


@pytest.mark.parametrize("wanted", list(group("dev")))
def test_every_tool_is_in_the_development_lock_at_a_version_that_is_allowed(wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = locked(DEVELOPMENT)[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("wanted", list(group("bench")))
def test_every_package_for_measurements_is_in_their_lock_at_a_version_that_is_allowed(wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = locked(BENCH)[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        *((TRACES, wanted) for wanted in pyproject()["project"]["optional-dependencies"]["traces"]),
        *((DEVELOPMENT, wanted) for wanted in pyproject()["project"]["optional-dependencies"]["traces"]),
        *((AUDIT, wanted) for wanted in group("audit")),
    ],
)
def test_what_is_optional_is_in_its_lock_at_a_version_that_is_allowed(lock: str, wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = locked(lock)[canonicalize_name(requirement.name)]
    assert all(requirement.specifier.contains(version) for version in versions)


def test_traces_add_to_what_runs_and_change_nothing_of_it() -> None:
    traces = locked(TRACES)
    assert all(versions <= traces[name] for name, versions in locked(RUNTIME).items())


def test_what_measurements_add_changes_no_package_that_is_there() -> None:
    development = locked(DEVELOPMENT)
    for name, versions in locked(BENCH).items():
        assert versions <= development.get(name, versions), name


def test_tests_run_with_the_very_versions_that_are_run_in_production() -> None:
    development = locked(DEVELOPMENT)
    for name, versions in locked(RUNTIME).items():
        assert versions <= development[name], name
