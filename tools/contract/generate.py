"""Generates the Python code of protos/ with one pinned set: grpc_tools.protoc and mypy-protobuf's plugins.

What stands in generated/ is the output of this module and nothing else, the package markers included:

- `__init__.py` in every package. Namespace packages would import as well, but some tools treat them
  differently: py.typed counts only for a package that is clearly one, and a stray folder named `tenantrooms`
  earlier on the import path would hide or extend them unnoticed.
- `py.typed` in every top package (PEP 561), so that a type checker reads the stubs out of the wheel.

The `_pb2_grpc` modules are written for files that define a service, and for no others: protoc's plugin would
write an empty one beside each file.

The code comes into being in a temporary folder, which then takes the place of generated/. So a failing
generator leaves the old code as it was, and a renamed proto leaves nothing behind.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.contract.toolset import ToolError, program, run, version_problems
from tools.contract.tree import ContractTree

__all__ = ["differences", "generate", "render"]

PACKAGE_DOCSTRING = '"""Generated from the protos by tools/contract. DO NOT EDIT."""\n'


def generate(tree: ContractTree) -> list[str]:
    """Bring generated/ up to date; the answer is one line for each file that changed, as `differences` does.

    Raises ToolError when a tool is missing, has another version than the pinned one, or fails.
    """
    if problems := version_problems(tree):
        raise ToolError("\n".join(problems))
    # Beside its destination, because a folder can be renamed only within one file system.
    with tempfile.TemporaryDirectory(prefix=".generated-", dir=tree.root) as work:
        fresh = Path(work, "fresh")
        fresh.mkdir()
        render(tree, fresh)
        changed = differences(tree.generated, fresh)
        if changed:
            if tree.generated.exists():
                tree.generated.rename(Path(work, "old"))
            fresh.rename(tree.generated)
    return changed


def render(tree: ContractTree, into: Path) -> None:
    """Write all generated code into an existing, empty folder. Raises ToolError when protoc fails."""
    files = tree.proto_files()
    if not files:
        raise ToolError(f"No .proto file below {tree.protos}.")
    with tempfile.NamedTemporaryFile(suffix=".binpb") as described:
        _protoc(tree, [f"--python_out={into}", f"--mypy_out=quiet:{into}", f"-o{described.name}"], files)
        descriptors = FileDescriptorSet.FromString(Path(described.name).read_bytes())
    if services := [file.name for file in descriptors.file if file.service]:
        _protoc(tree, [f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}"], services)
    for folder in sorted(path for path in into.rglob("*") if path.is_dir()):
        (folder / "__init__.py").write_text(PACKAGE_DOCSTRING, "utf-8")
        if folder.parent == into:
            (folder / "py.typed").touch()


def differences(standing: Path, fresh: Path) -> list[str]:
    """One line for each file that is not byte for byte the same in both folders; caches don't count.

    A line is `changed: PATH`, `missing: PATH` (only the fresh code has it) or `not generated: PATH` (only the
    standing code has it), with PATH relative to the folder.
    """
    old, new = _contents(standing), _contents(fresh)
    lines = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            lines.append(f"missing: {path}")
        elif path not in new:
            lines.append(f"not generated: {path}")
        elif old[path] != new[path]:
            lines.append(f"changed: {path}")
    return lines


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _protoc(tree: ContractTree, outputs: list[str], files: list[str]) -> None:
    plugins = [f"--plugin={name}={program(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    # Run as a module, grpc_tools adds its own copy of google/protobuf/*.proto to the import path.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{tree.protos}", *plugins, *outputs, *files]
    if (done := run(command, tree.root)).returncode != 0:
        raise ToolError(f"protoc failed:\n{done.stdout.rstrip()}")
