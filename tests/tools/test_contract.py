"""The contract checks, each shown to fail on a copy of the contract that breaks exactly what it guards."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.contract.__main__ import main
from tools.contract.check import CHECKS, check
from tools.contract.generate import differences, generate
from tools.contract.release import ReleaseError, release, released_version
from tools.contract.toolset import ToolError, version_problems
from tools.contract.tree import ContractTree

REPOSITORY = ContractTree.of_repository()
ROOMS = "tenantrooms/v1/tenant_rooms.proto"
REASONS = "tenantrooms/v1/error_reason.proto"
RELAY = "tenantrooms/relay/v1/relay.proto"

Edit = Callable[..., None]


@pytest.fixture
def tree(tmp_path: Path) -> ContractTree:
    """A copy of the contract, whose last release is what its protos say now."""
    for name in ("protos", "generated"):
        shutil.copytree(REPOSITORY.root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("buf.yaml", "pyproject.toml"):
        shutil.copyfile(REPOSITORY.root / name, tmp_path / name)
    copy = ContractTree(tmp_path)
    release(copy, "1.0.0")
    return copy


@pytest.fixture
def edit(tree: ContractTree) -> Edit:
    """Replaces a text that stands exactly once in one of the copied protos."""

    def replace(old: str, new: str, file: str = ROOMS) -> None:
        path = tree.protos / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), "utf-8")

    return replace


def failing(tree: ContractTree, *only: str) -> dict[str, str]:
    """What each failing check found, by the check's name; with names given, only these checks run."""
    checks = [one for one in CHECKS if not only or one.name in only]
    return {failure.name: failure.problem for failure in check(tree, checks)}


def test_the_contract_in_the_repository_passes_every_check() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.contract", "check"],
        cwd=REPOSITORY.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout


def test_an_untouched_copy_passes_every_check(tree: ContractTree) -> None:
    assert failing(tree) == {}


BREAKS = {
    "a field removed": (ROOMS, "  bool is_publisher = 9;\n", "", '"is_publisher"'),
    "a field renamed": (ROOMS, "bool is_publisher = 9;", "bool publishes = 9;", '"is_publisher"'),
    "a field renumbered": (ROOMS, "bool is_publisher = 9;", "bool is_publisher = 10;", '"is_publisher"'),
    "a field's type": (ROOMS, "int32 page_size = 2;", "int64 page_size = 2;", '"int64"'),
    "a list made one": (ROOMS, "repeated Participant ", "Participant ", '"participants"'),
    "an rpc renamed": (ROOMS, "rpc GetRoom(", "rpc FetchRoom(", '"GetRoom"'),
    "an rpc removed": (
        ROOMS,
        "  rpc GetRoom(GetRoomRequest) returns (GetRoomResponse) {\n"
        "    option idempotency_level = NO_SIDE_EFFECTS;\n  }\n",
        "",
        '"GetRoom"',
    ),
    "an rpc streams": (ROOMS, "(ListRoomsResponse) {", "(stream ListRoomsResponse) {", '"ListRooms"'),
    "an enum value renamed": (
        ROOMS,
        "CONSISTENCY_FULLY_CONSISTENT = 1;",
        "CONSISTENCY_FRESH = 1;",
        "CONSISTENCY_FULLY_CONSISTENT",
    ),
    "a reason renamed": (REASONS, "ROOM_NOT_FOUND = 30;", "ROOM_ABSENT = 30;", "ROOM_NOT_FOUND"),
}


@pytest.mark.parametrize("change", BREAKS)
def test_a_change_that_breaks_callers_is_refused(tree: ContractTree, edit: Edit, change: str) -> None:
    file, old, new, named = BREAKS[change]
    edit(old, new, file)
    assert named in failing(tree, "breaking")["breaking"]


def test_the_relay_is_linted_and_may_change_as_nobody_is_promised_anything_about_it(
    tree: ContractTree, edit: Edit
) -> None:
    edit("bool leaving = 2;", "bool leaving = 9;", RELAY)
    assert failing(tree, "lint", "breaking") == {}
    edit("  // The call's.\n", "", RELAY)
    assert "comment" in failing(tree, "lint", "breaking")["lint"]


def test_a_removed_proto_is_refused(tree: ContractTree) -> None:
    (tree.protos / REASONS).unlink()
    assert "error_reason.proto" in failing(tree, "breaking")["breaking"]


LATER_RPCS = """
  // WatchRooms gives the rooms that the caller may see, and then each change to them.
  rpc WatchRooms(WatchRoomsRequest) returns (stream WatchRoomsResponse);

  // CreateRoom makes a room.
  rpc CreateRoom(CreateRoomRequest) returns (CreateRoomResponse);

  // DeleteRoom ends a room.
  rpc DeleteRoom(DeleteRoomRequest) returns (DeleteRoomResponse);
}
"""
LATER_MESSAGES = "".join(
    f"""
// {name} belongs to a later rpc.
message {name} {{
  // The room.
  Room room = 1;
}}
"""
    for rpc in ("WatchRooms", "CreateRoom", "DeleteRoom")
    for name in (f"{rpc}Request", f"{rpc}Response")
)


def test_later_rpcs_a_server_stream_among_them_fit_the_rules_and_break_nobody(
    tree: ContractTree, edit: Edit
) -> None:
    edit("}\n\n// Consistency says", f"{LATER_RPCS}{LATER_MESSAGES}\n// Consistency says")
    assert set(failing(tree)) == {"generated"}
    generate(tree)
    assert failing(tree) == {}
    stubs = (tree.generated / "tenantrooms/v1/tenant_rooms_pb2_grpc.pyi").read_text("utf-8")
    assert "WatchRooms: _aio.UnaryStreamMultiCallable[" in stubs


@pytest.mark.parametrize(
    ("old", "new", "file"),
    [
        pytest.param(
            "  bool is_publisher = 9;\n",
            "  bool is_publisher = 9;\n\n  // When the participant left.\n"
            "  google.protobuf.Timestamp left_at = 10;\n",
            ROOMS,
            id="a field",
        ),
        pytest.param(
            "  UNEXPECTED = 74;\n",
            "  UNEXPECTED = 74;\n  // ALREADY_EXISTS: the room exists.\n  ROOM_EXISTS = 80;\n",
            REASONS,
            id="a reason",
        ),
    ],
)
def test_an_addition_breaks_nobody(tree: ContractTree, edit: Edit, old: str, new: str, file: str) -> None:
    edit(old, new, file)
    assert failing(tree, "lint", "format", "breaking") == {}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        pytest.param(
            "  // The display name; may be empty.\n",
            "",
            'Field "name" should have a non-empty comment',
            id="no comment",
        ),
        pytest.param(
            "  bool is_publisher = 9;\n",
            "  bool is_publisher = 9;\n\n  // Whether it is muted.\n  bool isMuted = 10;\n",
            "lower_snake_case",
            id="a name in another style",
        ),
        pytest.param(
            "  bool is_publisher = 9;\n",
            "  bool is_publisher = 9;\n\n  // buf:lint:ignore FIELD_LOWER_SNAKE_CASE\n"
            "  // Whether it is muted.\n  bool isMuted = 10;\n",
            "lower_snake_case",
            id="an exception beside the field instead of in buf.yaml",
        ),
    ],
)
def test_a_proto_against_the_style_rules_is_refused(
    tree: ContractTree, edit: Edit, old: str, new: str, rule: str
) -> None:
    edit(old, new)
    assert rule in failing(tree, "lint")["lint"]


def test_a_proto_in_another_layout_is_refused(tree: ContractTree, edit: Edit) -> None:
    edit("  bool is_publisher = 9;", "    bool   is_publisher = 9;")
    assert set(failing(tree)) == {"format"}


def test_a_hand_edit_of_generated_code_is_refused_and_undone_by_the_generator(tree: ContractTree) -> None:
    edited = tree.generated / "tenantrooms/v1/tenant_rooms_pb2.pyi"
    edited.write_text(edited.read_text("utf-8") + "\n", "utf-8")
    (tree.generated / "tenantrooms/v1/handwritten.py").touch()
    (tree.generated / "tenantrooms/py.typed").unlink()
    named = [
        "missing: tenantrooms/py.typed",
        "not generated: tenantrooms/v1/handwritten.py",
        "changed: tenantrooms/v1/tenant_rooms_pb2.pyi",
    ]
    assert failing(tree) == {"generated": "\n".join(named)}
    assert generate(tree) == named
    assert failing(tree) == {}


def test_a_changed_comment_makes_the_generated_code_stale(tree: ContractTree, edit: Edit) -> None:
    edit("// The display name; may be empty.", "// The display name. May be empty.")
    assert failing(tree, "generated") == {"generated": "changed: tenantrooms/v1/tenant_rooms_pb2.pyi"}


def test_byte_code_caches_are_not_taken_for_handwritten_files(tree: ContractTree) -> None:
    cache = tree.generated / "tenantrooms/__pycache__"
    cache.mkdir()
    (cache / "x.pyc").touch()
    assert differences(tree.generated, REPOSITORY.generated) == []


def test_generating_again_changes_no_file(tree: ContractTree) -> None:
    before = (tree.generated / "tenantrooms").stat().st_ino
    assert generate(tree) == []
    assert (tree.generated / "tenantrooms").stat().st_ino == before


def test_a_proto_that_does_not_compile_leaves_the_old_code(tree: ContractTree, edit: Edit) -> None:
    edit("bool is_publisher = 9;", "Unknown is_publisher = 9;")
    with pytest.raises(ToolError, match='"Unknown" is not defined'):
        generate(tree)
    assert differences(tree.generated, REPOSITORY.generated) == []
    assert sorted(path.name for path in tree.root.iterdir()) == [
        "buf.yaml",
        "generated",
        "protos",
        "pyproject.toml",
        "tools",
    ]


def test_a_tool_of_another_version_than_the_pinned_one_generates_nothing(tree: ContractTree) -> None:
    pins = tree.pyproject.read_text("utf-8")
    tree.pyproject.write_text(pins.replace('"mypy-protobuf==', '"mypy-protobuf==99.'), "utf-8")
    [problem] = version_problems(tree)
    assert problem.startswith("mypy-protobuf: ")
    assert failing(tree, "tools") == {"tools": problem}
    with pytest.raises(ToolError, match="mypy-protobuf"):
        generate(tree)


def test_a_tool_that_is_not_pinned_exactly_is_refused(tree: ContractTree) -> None:
    pins = tree.pyproject.read_text("utf-8")
    tree.pyproject.write_text(pins.replace('"buf-bin==', '"buf-bin>='), "utf-8")
    assert failing(tree, "tools") == {"tools": "buf-bin: pyproject.toml does not pin it with =="}


def test_a_release_is_what_later_changes_are_compared_with(tree: ContractTree, edit: Edit) -> None:
    edit("  bool is_publisher = 9;\n", "  bool is_publisher = 9;\n\n  // Muted.\n  bool is_muted = 10;\n")
    release(tree, "1.1.0")
    assert released_version(tree) == "1.1.0"
    edit("\n  // Muted.\n  bool is_muted = 10;\n", "")
    assert '"is_muted"' in failing(tree, "breaking")["breaking"]


@pytest.mark.parametrize("version", ["1.0.0", "0.9.9", "1.1", "v1.1.0", "1.1.0-rc1", ""])
def test_a_release_needs_three_numbers_above_the_last_ones(tree: ContractTree, version: str) -> None:
    with pytest.raises(ReleaseError):
        release(tree, version)
    assert released_version(tree) == "1.0.0"


def test_a_contract_that_fails_a_check_is_not_released(
    tree: ContractTree, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("rpc GetRoom(", "rpc FetchRoom(")
    assert main(["release", "1.1.0"], tree) == 1
    assert released_version(tree) == "1.0.0"
    assert "FAIL breaking" in capsys.readouterr().out


def test_the_first_release_needs_no_earlier_one(tree: ContractTree) -> None:
    shutil.rmtree(tree.released)
    assert "is missing" in failing(tree, "breaking")["breaking"]
    assert main(["release", "0.1.0"], tree) == 0
    assert released_version(tree) == "0.1.0"
    assert failing(tree) == {}


def test_the_check_names_what_failed_and_says_what_to_do(
    tree: ContractTree, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("int32 page_size = 2;", "string page_size = 2;")
    assert main(["check"], tree) == 1
    printed = capsys.readouterr().out
    assert "ok   lint" in printed
    assert "FAIL generated" in printed
    assert "    changed: tenantrooms/v1/tenant_rooms_pb2.py\n" in printed
    assert "Run `make generate`" in printed
    assert "FAIL breaking (since release 1.0.0)" in printed
    assert '"page_size"' in printed


def test_generate_says_which_files_it_changed(
    tree: ContractTree, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("// The display name; may be empty.", "// The display name. May be empty.")
    assert main(["generate"], tree) == 0
    assert "changed: tenantrooms/v1/tenant_rooms_pb2.pyi" in capsys.readouterr().out
    assert main(["generate"], tree) == 0
    assert capsys.readouterr().out == "generated/ is up to date.\n"
