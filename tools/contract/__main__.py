"""The command line of the contract tools: `python -m tools.contract {generate,check,release}`."""

import argparse
import sys
import textwrap
from collections.abc import Sequence

from tools.contract.check import CHECKS, Failure, check
from tools.contract.generate import generate
from tools.contract.release import ReleaseError, release, released_version
from tools.contract.toolset import ToolError
from tools.contract.tree import ContractTree

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, tree: ContractTree | None = None) -> int:
    """Run one command; the answer is the exit status: 0, or 1 when something is wrong and was said."""
    parser = argparse.ArgumentParser(prog="python -m tools.contract", description="The contract's tools.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate", help="write the Python code of protos/ into generated/")
    commands.add_parser("check", help="lint, format, generated code, breaking changes")
    releasing = commands.add_parser("release", help="keep protos/ as the last released contract")
    releasing.add_argument("version", help="of the release, such as 1.2.3")
    options = parser.parse_args(arguments)
    tree = tree or ContractTree.of_repository()
    try:
        match options.command:
            case "generate":
                return _generate(tree)
            case "release":
                return _release(tree, options.version)
            case _:
                return _check(tree)
    except (ToolError, ReleaseError) as error:
        print(error, file=sys.stderr)
        return 1


def _generate(tree: ContractTree) -> int:
    changed = generate(tree)
    if changed:
        print("generated/ was written anew. Before, these differed:")
        print(textwrap.indent("\n".join(changed), "    "))
    else:
        print("generated/ is up to date.")
    return 0


def _check(tree: ContractTree) -> int:
    failures = {failure.name: failure for failure in check(tree)}
    for one in CHECKS:
        failure = failures.get(one.name)
        last = released_version(tree) if one.name == "breaking" else None
        print(f"{'FAIL' if failure else 'ok':5}{one.name}{f' (since release {last})' if last else ''}")
        if failure:
            print(_explained(failure))
    return 1 if failures else 0


def _release(tree: ContractTree, version: str) -> int:
    # The first release has nothing to be compared with.
    needed = CHECKS if tree.released.is_dir() else [one for one in CHECKS if one.name != "breaking"]
    if failures := check(tree, needed):
        for failure in failures:
            print(f"FAIL {failure.name}\n{_explained(failure)}")
        print("Nothing was released.")
        return 1
    release(tree, version)
    print(f"{tree.released.relative_to(tree.root)}/ now is the contract of {version}.")
    return 0


def _explained(failure: Failure) -> str:
    problem, remedy = (textwrap.indent(text, "    ") for text in (failure.problem, failure.remedy))
    return f"{problem}\n  What to do:\n{remedy}"


if __name__ == "__main__":
    sys.exit(main())
