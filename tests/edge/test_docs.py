"""The interactive page: complete without the internet."""

from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.asgi import Edge
from edge.docs import ASSETS
from tests.edge.asgi_calls import ask

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png"}


class References(HTMLParser):
    """Collects what a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]


async def test_the_page_loads_nothing_but_files_of_the_edge_and_they_are_served(app: Edge) -> None:
    page = await ask(app, b"/docs")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    references = References(page.body.decode()).found
    assert sorted(references) == sorted(f"docs/assets/{name}" for name in ASSETS)
    assert "SwaggerUIBundle(" in page.body.decode()
    spec = find_spec("drf_spectacular_sidecar")
    assert spec is not None
    (package,) = spec.submodule_search_locations or []
    folder = Path(package, "static", "drf_spectacular_sidecar", "swagger-ui-dist")
    for reference in references:
        asset = await ask(app, b"/" + reference.encode())
        assert asset.status == 200
        assert asset.body == (folder / Path(reference).name).read_bytes()
        assert asset.header("content-type") == TYPES[Path(reference).suffix]
        assert asset.header("cache-control") == "no-store"


async def test_the_page_has_the_whole_document(app: Edge) -> None:
    page, document = await ask(app, b"/docs"), await ask(app, b"/docs/openapi.json")
    assert document.body in page.body


async def test_a_browser_is_told_to_load_nothing_from_elsewhere(app: Edge) -> None:
    policy = (await ask(app, b"/docs")).header("content-security-policy") or ""
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize(
    "target",
    [
        b"/docs/assets/oauth2-redirect.html",
        b"/docs/assets/swagger-ui-bundle.js.map",
        b"/docs/assets/LICENSE",
        b"/docs/assets/..",
        b"/docs/assets/../LICENSE",
        b"/docs/assets/%2e%2e%2fLICENSE",
        b"/docs/swagger",
        b"/schema",
        b"/schema/openapi.json",
    ],
)
async def test_nothing_else_is_served(app: Edge, target: bytes) -> None:
    assert (await ask(app, target)).json == {"error": "Not Found"}
