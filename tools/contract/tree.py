"""Where the parts of the contract lie, below one root: the repository, or a copy of it in a test."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ContractTree"]


@dataclass(frozen=True)
class ContractTree:
    """The contract's files and folders below `root`."""

    root: Path

    @classmethod
    def of_repository(cls) -> "ContractTree":
        """The tree that this module itself belongs to."""
        return cls(Path(__file__).resolve().parents[2])

    @property
    def protos(self) -> Path:
        """The import root of the .proto files."""
        return self.root / "protos"

    @property
    def generated(self) -> Path:
        """The import root of the generated Python code; generator output only."""
        return self.root / "generated"

    @property
    def released(self) -> Path:
        """The last released contract: VERSION, buf.yaml, protos/. Absent before the first release."""
        return self.root / "tools" / "contract" / "released"

    @property
    def pyproject(self) -> Path:
        """The file that pins the tools' versions."""
        return self.root / "pyproject.toml"

    def proto_files(self) -> list[str]:
        """Every .proto file, sorted, relative to `protos` and with forward slashes, as protoc names them."""
        return sorted(path.relative_to(self.protos).as_posix() for path in self.protos.rglob("*.proto"))
