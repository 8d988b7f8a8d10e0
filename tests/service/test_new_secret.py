"""`python -m service.new_secret`: the secret is new, the entry lets it in, and is ready to paste."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.auth.api_secrets import ApiSecrets
from service.auth.generated_secrets import is_generated
from service.auth.principal import Operator, Principal, Tenant, TenantId
from service.auth.secret_list import parse_secret_list
from service.auth.tenants_file import parse_tenants
from service.new_secret import main

ROOT = Path(__file__).parents[2]
IDS = [
    "acme",
    "no",
    "5",
    "a: b",
    "- x",
    'it\'s "one"',
    "caf\u00e9 \U0001f600",
    "a\x85b",
    "a\nb",
    "#",
    "x" * 300,
]


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """The secret and the entry that were printed."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    _, secret, title, entry = out.split("\n\n", 3)
    assert out.count(secret) == 1
    assert title.startswith("The entry for ")
    return secret, entry


@pytest.mark.parametrize("role", ["tenant", "operator"])
@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("name", IDS)
async def test_the_entry_lets_the_secret_in(
    capsys: pytest.CaptureFixture[str], name: str, form: str, role: str
) -> None:
    options = ["--role", role, *(["--yaml"] if form == "yaml" else [])]
    secret, entry = made(capsys, *options, "--", name)
    if form == "json":
        entries = parse_secret_list(f"[{entry}]")
    else:
        entries = parse_tenants(f"tenants:\n{entry}", "yaml")
    expected: Principal = Operator(name) if role == "operator" else Tenant(TenantId(name))
    assert is_generated(secret)
    assert secret not in entry
    assert await ApiSecrets(entries).verify(secret) == expected


def test_each_secret_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(capsys, "acme") != made(capsys, "acme")


@pytest.mark.parametrize("arguments", [[], [" acme"], [""], ["acme", "--role", "admin"], ["a", "b"]])
def test_arguments_that_cannot_be_used_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: python -m service.new_secret")


def test_it_runs_as_a_command() -> None:
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("", "client", "generated"))
    ended = subprocess.run(
        [sys.executable, "-m", "service.new_secret", "acme"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ended.stdout.splitlines()[-1])["id"] == "acme"
    assert ended.stderr == ""
