"""The tables in the docs say what the code says: settings, errors, owners."""

import grpc
import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from edge.errors import TABLE, Route, answer_to_failure
from edge.settings import EdgeSettings
from service.error_boundary import CODES
from service.ownership import Ownerless, owner_of
from service.settings import SECRETS, Settings
from tenantrooms.v1.error_reason_pb2 import ErrorReason
from tests.docs.markdown import ROOT, Cell, table

SETTINGS_PAGES = ["README.md", "docs/reference/settings.md"]
PROCESSES = [("The service", Settings), ("The edge", EdgeSettings)]
ERRORS_PAGE = "docs/reference/errors.md"
NOTHING = [None, (), SecretStr("")]


def fields_by_name(model: type[BaseModel]) -> dict[str, tuple[str, FieldInfo]]:
    """Field name and field of each setting, by the name in the environment."""
    return {str(field.alias): (name, field) for name, field in model.model_fields.items()}


@pytest.mark.parametrize("page", SETTINGS_PAGES)
@pytest.mark.parametrize(("heading", "model"), PROCESSES)
def test_the_settings_tables_name_exactly_the_settings(
    page: str, heading: str, model: type[BaseModel]
) -> None:
    documented = [row[0].code[0] for row in table(page, heading)]
    assert sorted(documented) == sorted(fields_by_name(model))


@pytest.mark.parametrize("page", SETTINGS_PAGES)
@pytest.mark.parametrize(("heading", "model"), PROCESSES)
def test_the_settings_tables_give_the_defaults(page: str, heading: str, model: type[BaseModel]) -> None:
    fields = fields_by_name(model)
    for name_cell, default_cell, *_ in table(page, heading):
        name = name_cell.code[0]
        field_name, field = fields[name]
        if default_cell.code:
            # Read as the process would read it, so that the docs may write it as a person would set it.
            settings = model.model_validate({name: default_cell.code[0]})
            assert getattr(settings, field_name) == field.default, name
        else:
            assert default_cell.text == "none", name
            assert field.default in NOTHING, name


def test_the_secrets_that_may_come_from_files_are_named_on_both_pages() -> None:
    reference = table("docs/reference/settings.md", "Secrets from files")
    assert {(name.code[0], file.code[0]) for name, file in reference} == {
        (name, f"{name}_FILE") for name in SECRETS
    }
    marked = {row[0].code[0] for row in table("README.md", "The service") if row[0].text.endswith("*")}
    assert marked == set(SECRETS)


def test_the_errors_page_has_every_reason_with_its_codes() -> None:
    documented = {row[0].code[0]: set(row[1].code) for row in table(ERRORS_PAGE, "Reasons")}
    assert documented.keys() == set(ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    assert {code for codes in documented.values() for code in codes} <= {
        code.name for code in grpc.StatusCode
    }
    given: dict[str, set[str]] = {}
    for error, code in CODES.items():
        given.setdefault(ErrorReason.Name(error.reason), set()).add(code.name)
    assert {reason: documented[reason] for reason in given} == given


@pytest.mark.parametrize(("column", "route"), [(2, Route.LIST), (3, Route.DETAILS)])
def test_the_errors_page_has_the_rest_status_of_every_reason(column: int, route: Route) -> None:
    documented = {row[0].code[0]: int(row[column].text) for row in table(ERRORS_PAGE, "Reasons")}
    assert documented == {reason: answer.status for (of, reason), answer in TABLE.items() if of is route}


def test_the_errors_page_says_which_reasons_are_reserved() -> None:
    reserved = {row[0].code[0] for row in table(ERRORS_PAGE, "Reasons") if row[4].text.startswith("Reserved")}
    sent = {ErrorReason.Name(error.reason) for error in CODES}
    assert reserved == set(ErrorReason.keys()) - sent - {"ERROR_REASON_UNSPECIFIED"}


def test_the_errors_page_has_the_rest_status_of_every_bare_code() -> None:
    documented = {row[0].code[0]: int(row[1].text) for row in table(ERRORS_PAGE, "Codes without a reason")}
    assert documented == {
        code.name: answer_to_failure(Route.LIST, code, None).status
        for code in grpc.StatusCode
        if code is not grpc.StatusCode.OK
    }


def test_the_map_of_the_code_names_each_file_once_and_none_that_is_not_there() -> None:
    named: list[str] = []
    for first, *_ in table("CONTRIBUTING.md", "Map of the code"):
        folder = ""
        for path in first.code:
            # A bare name is in the folder of the path before it.
            named.append(path if "/" in path.rstrip("/") or not folder else f"{folder}/{path}")
            folder = named[-1].rstrip("/").rpartition("/")[0]
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert sorted(named) == sorted(set(named))


def test_the_guide_to_ownerless_rooms_has_every_reason() -> None:
    rows = table("docs/how-to/find-ownerless-rooms.md", "How many are there, and why?")
    assert [row[0].code[0] for row in rows] == [reason.value for reason in Ownerless]


def test_the_examples_of_owners_are_right() -> None:
    rows = table("docs/explanation/ownership-and-masking.md", "The rule")
    shown = [(text, owner) for texts, owner in rows for text in texts.code]
    assert len(shown) > 10
    assert {text: owner_of(text) for text, _ in shown} == {text: _owner(cell) for text, cell in shown}
    assert {owner for _, cell in rows if isinstance(owner := _owner(cell), Ownerless)} == set(Ownerless)


def _owner(cell: Cell) -> str | Ownerless:
    """What the cell says: a tenant, or nobody and, in parentheses, why."""
    return Ownerless(cell.code[0]) if cell.text.startswith("nobody") else cell.code[0]
