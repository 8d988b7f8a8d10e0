"""Set-up does what is missing, nothing when nothing changed, and starts anew after an interrupt."""

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tools.progress import CommandError, Progress
from tools.setup import Setup

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "sample"
version = "1"

[tool.ruff]
line-length = 110
"""

# The least that PEP 660 asks for: a wheel with one .pth file.
BACKEND = """\
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "sample-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("sample.pth", str(pathlib.Path.cwd() / "source"))
        wheel.writestr("sample-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: sample\\nVersion: 1\\n")
        wheel.writestr("sample-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("sample-1.dist-info/RECORD", "")
    return name
"""


class Recorded(Progress):
    """Notes what would be run; only an empty environment is really made, by a link to this Python."""

    def __init__(self, root: Path) -> None:
        super().__init__(io.StringIO())
        self.labels: list[str] = []
        self.interrupted_at: str | None = None
        self._root = root

    def run(
        self,
        label: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        status_of: Callable[[str], str | None],
    ) -> None:
        self.labels.append(" ".join(label.split()[:2]))
        if self.interrupted_at and label.startswith(self.interrupted_at):
            raise KeyboardInterrupt
        if label.startswith("Making"):
            (self._root / ".venv" / "bin").mkdir(parents=True)
            (self._root / ".venv" / "bin" / "python").symlink_to(sys.executable)


ALL = ["Making .venv", "Installing packages", "Installing TenantRooms"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "requirements-dev.txt").write_text("")
    (tmp_path / "requirements-bench.txt").write_text("")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "sample.py").write_text("GREETING = 'from the checkout'\n")
    return tmp_path


def run(root: Path, interrupted_at: str | None = None) -> list[str]:
    progress = Recorded(root)
    progress.interrupted_at = interrupted_at
    try:
        Setup(root, {}).run(progress)
    except KeyboardInterrupt:
        assert interrupted_at
    return progress.labels


def test_the_first_run_does_everything_and_the_second_nothing(root: Path) -> None:
    assert not Setup(root, {}).is_current()
    assert run(root) == ALL
    assert Setup(root, {}).is_current()
    assert run(root) == []


def test_changed_packages_mean_a_new_environment(root: Path) -> None:
    run(root)
    (root / ".venv" / "of-before").touch()
    (root / "requirements-dev.txt").write_text("# other packages\n")
    assert not Setup(root, {}).is_current()
    assert run(root) == ALL
    assert not (root / ".venv" / "of-before").exists()


def test_a_changed_project_is_installed_anew_without_its_packages(root: Path) -> None:
    run(root)
    (root / "pyproject.toml").write_text(PYPROJECT.replace('version = "1"', 'version = "2"'))
    assert not Setup(root, {}).is_current()
    assert run(root) == ALL[2:]


def test_a_changed_lint_rule_changes_nothing(root: Path) -> None:
    run(root)
    (root / "pyproject.toml").write_text(PYPROJECT.replace("110", "100"))
    assert Setup(root, {}).is_current()


@pytest.mark.parametrize("step", ALL)
def test_an_interrupted_run_is_not_taken_for_a_finished_one(root: Path, step: str) -> None:
    run(root, interrupted_at=step)
    assert not Setup(root, {}).is_current()
    assert run(root) == ALL


def test_an_interrupted_renewal_is_not_taken_for_a_finished_one_either(root: Path) -> None:
    run(root)
    (root / "requirements-dev.txt").write_text("# other packages\n")
    run(root, interrupted_at="Installing packages")
    assert not Setup(root, {}).is_current()
    (root / "requirements-dev.txt").write_text("")
    assert run(root) == ALL


def test_an_environment_whose_python_is_gone_is_made_anew(root: Path) -> None:
    run(root)
    (root / ".venv" / "bin" / "python").unlink()
    assert run(root) == ALL


def test_a_checkout_that_was_moved_is_installed_anew(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(root)
    moved = tmp_path_factory.mktemp("other") / "place"
    root.rename(moved)
    assert not Setup(moved, {}).is_current()
    assert "Installing TenantRooms" in run(moved)


def test_packages_for_measurements_are_added_once_and_again_when_they_or_the_environment_change(
    root: Path,
) -> None:
    run(root)

    def added() -> list[str]:
        progress = Recorded(root)
        Setup(root, {}).add_benchmarks(progress)
        return progress.labels

    assert added() == ["Installing packages"]
    assert added() == []
    assert Setup(root, {}).is_current()
    (root / "requirements-bench.txt").write_text("# other packages\n")
    assert added() == ["Installing packages"]
    (root / "requirements-dev.txt").write_text("# other packages\n")
    assert run(root) == ALL
    assert added() == ["Installing packages"]


def test_a_real_environment_imports_the_project_from_the_checkout(root: Path) -> None:
    screen = io.StringIO()
    setup = Setup(root, os.environ)
    setup.run(Progress(screen))
    assert setup.is_current()
    assert "Installing TenantRooms itself: done" in screen.getvalue()
    log = root / "said"
    Progress(screen).run(
        "Asking",
        [setup.python, "-c", "import sample; print(sample.GREETING)"],
        log=log,
        env={},
        cwd=root.parent,
        status_of=lambda _: None,
    )
    assert log.read_text() == "from the checkout\n"


def test_a_package_without_its_hash_is_refused(root: Path) -> None:
    (root / "requirements-dev.txt").write_text("pytest==9.2.0\n")
    with pytest.raises(CommandError, match=r"(?i)hash"):
        Setup(root, os.environ).run(Progress(io.StringIO()))
    assert not Setup(root, os.environ).is_current()
