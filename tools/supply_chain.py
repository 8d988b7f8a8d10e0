"""`python -m tools.supply_chain audit|sbom`: what is known of the locked packages, and a list of them.

`audit` looks every locked Python package up with pip-audit, and LiveKit's server with govulncheck. Not to
have been able to look is no good news, so it is told and has an exit status of its own. `sbom` writes all
packages that run in production, with versions and hashes, as CycloneDX.

Both use packages of an environment of their own, so that they change nothing of what is tested.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.livekit_build import LiveKitBuildError, LiveKitServerSource

__all__ = ["Report", "audited", "main"]

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = (
    "requirements-dev.txt",  # which has those of production and of traces too
    "requirements-bench.txt",
    "requirements-audit.txt",
    "tools/livekit/requirements-go.txt",
)
GOVULNCHECK: Final = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
VULNERABLE: Final = 1
NOT_LOOKED_UP: Final = 2

_ENVIRONMENT: Final = ROOT / ".cache" / "audit"
_LOCK: Final = ROOT / "requirements-audit.txt"
_SECONDS: Final = 600

Run = Callable[[Sequence[str | Path]], "subprocess.CompletedProcess[str]"]
"""Runs a command and gives its output; raises OSError or TimeoutExpired."""


@dataclass
class Report:
    """What was found out.

    Attributes:
        looked_up: how many packages were looked up.
        vulnerable: one line for each vulnerability.
        not_looked_up: one line for what could not be looked up, with the reason.
    """

    looked_up: int = 0
    vulnerable: list[str] = field(default_factory=list)
    not_looked_up: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 only when everything was looked up and nothing found."""
        return VULNERABLE if self.vulnerable else NOT_LOOKED_UP if self.not_looked_up else 0

    def say(self) -> None:
        """Print it."""
        print(f"{self.looked_up} Python packages were looked up.")
        for heading, lines in (
            ("KNOWN VULNERABILITIES", self.vulnerable),
            ("COULD NOT BE LOOKED UP (which says nothing about them)", self.not_looked_up),
        ):
            if lines:
                print(f"\n{heading}:", *lines, sep="\n  ")
        if not self.status:
            print("No known vulnerabilities.")


def audited(lock: str, output: str, report: Report) -> None:
    """Add what pip-audit has said about a lock, as JSON; no JSON means that it could not ask anybody."""
    try:
        dependencies: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        report.not_looked_up.append(f"{lock}: the advisory service could not be reached")
        return
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    if skipped:
        report.not_looked_up.append(
            f"{lock}: {len(skipped)} packages of {len(dependencies)}, of which the advisory service that "
            f"pip-audit asks knows nothing: {', '.join(skipped[:3])}{' …' if len(skipped) > 3 else ''}"
        )
    report.looked_up += len(dependencies) - len(skipped)
    for each in dependencies:
        for vulnerability in each.get("vulns", ()):
            fixed = ", ".join(vulnerability["fix_versions"]) or "none yet"
            line = f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in: {fixed} ({lock})"
            report.vulnerable.append(line)


def _audit(run: Run, arguments: Sequence[str]) -> int:
    report = Report()
    for lock in LOCKS:
        how = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", *arguments]
        ended = _ran(run, [_tool("pip-audit"), *how, f"--requirement={ROOT / lock}"], lock, report)
        if ended is not None:
            audited(lock, ended.stdout, report)
    _audit_livekit(run, report)
    report.say()
    return report.status


def _ran(
    run: Run, command: Sequence[str | Path], what: str, report: Report
) -> "subprocess.CompletedProcess[str] | None":
    """What this command has said; None, told in the report, if it could not run or did not end."""
    try:
        return run(command)
    except (OSError, subprocess.TimeoutExpired) as error:
        report.not_looked_up.append(f"{what}: {_without_end(error)}")
        return None


def _without_end(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return f"could not be run: {error}"
    return f"has not ended within {error.timeout:g} s"


def _audit_livekit(run: Run, report: Report) -> None:
    """Ask Go's vulnerability database about the modules in the server's binary."""
    what = "LiveKit's server (tools/livekit/go.sum)"
    source = LiveKitServerSource(ROOT / "tools" / "livekit", ROOT / ".cache" / "livekit", os.environ)
    try:
        server, go = source.find(), shutil.which("go")
    except LiveKitBuildError as error:
        report.not_looked_up.append(f"{what}: {error}")
        return
    if server is None or go is None:
        missing = "it is not built yet: make test" if server is None else "there is no Go on PATH"
        report.not_looked_up.append(f"{what}: {missing}")
        return
    ended = _ran(run, [go, "run", GOVULNCHECK, "-mode=binary", "-format=text", server], what, report)
    if ended is None:
        return
    if "No vulnerabilities found" in ended.stdout:
        return
    if "Vulnerability #" in ended.stdout:
        found = [line.strip() for line in ended.stdout.splitlines() if line.startswith("Vulnerability #")]
        report.vulnerable += [f"LiveKit's server: {line}" for line in found]
    else:
        lines = [line for line in ended.stderr.splitlines() if not line.startswith(("exit ", "go: down"))]
        reason = lines[-1] if lines else "govulncheck said nothing"
        report.not_looked_up.append(f"{what}: {reason}")


def _sbom(run: Run) -> int:
    target = ROOT / "dist" / "tenantrooms-sbom.cdx.json"
    target.parent.mkdir(exist_ok=True)
    form = ["--short-PURLs", "--output-reproducible", "--of=JSON", f"--pyproject={ROOT / 'pyproject.toml'}"]
    made = run([_tool("cyclonedx-py"), "requirements", *form, ROOT / "requirements-traces.txt"])
    if made.returncode:
        print(made.stderr, file=sys.stderr)
        return NOT_LOOKED_UP
    contents = json.loads(made.stdout)
    for component in contents["components"]:
        component.pop("description", None)  # the lock's own lines
        for reference in component.get("externalReferences", ()):
            # Whoever installs decides where packages come from; what counts are the hashes.
            reference["url"] = component["purl"]
    target.write_text(json.dumps(contents, indent=2) + "\n", "utf-8")
    print(f"{target.relative_to(ROOT)}: {len(contents['components'])} packages.")
    return 0


def _tool(name: str) -> Path:
    return _ENVIRONMENT / "bin" / name


def _set_up(run: Run) -> None:
    """Make the environment, unless it is there and from this lock. Raises CalledProcessError."""
    record = _ENVIRONMENT / "lock"
    lock = _LOCK.read_text("utf-8")
    if record.is_file() and record.read_text("utf-8") == lock:
        return
    print("Setting up the packages for audits, in .cache/audit …", flush=True)
    run([sys.executable, "-m", "venv", "--clear", _ENVIRONMENT]).check_returncode()
    locked = ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={_LOCK}"]
    run([_tool("python"), "-m", "pip", "install", "--disable-pip-version-check", *locked]).check_returncode()
    record.write_text(lock, "utf-8")


def _run(command: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=elsewhere
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and give the exit status: 1 is for vulnerabilities alone."""
    parser = argparse.ArgumentParser(prog="python -m tools.supply_chain")
    parser.add_argument("what", choices=["audit", "sbom"])
    given, rest = parser.parse_known_args(arguments)
    try:
        _set_up(_run)
        return _audit(_run, rest) if given.what == "audit" else _sbom(_run)
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"The packages for it: {_without_end(error)}", file=sys.stderr)
    return NOT_LOOKED_UP


if __name__ == "__main__":
    sys.exit(main())
