"""Owns the pages under `/docs`: Swagger UI from files on this machine, and the OpenAPI document.

Before it: Litestar. The document itself is put together from `openapi` and `routes`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from litestar import Router
from litestar.datastructures import ResponseHeader
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Server
from litestar.static_files import create_static_files_router

from edge.openapi import API_VERSION, DESCRIPTION, security_components
from edge.paths import ASSETS_PATH, DOCS_PATH, DOCUMENT_PATH

_SCRIPT: Final = "swagger-ui-bundle.js"
_PRESET: Final = "swagger-ui-standalone-preset.js"
_STYLE: Final = "swagger-ui.css"
_ICON: Final = "favicon-32x32.png"

ASSETS: Final = frozenset({_SCRIPT, _PRESET, _STYLE, _ICON})
"""The files of Swagger UI that the page uses; no other file of its folder is served."""

# The page's own script stands in the page. Nothing may be loaded from, or sent to, anywhere else.
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)


def docs_config() -> OpenAPIConfig:
    """How Litestar makes the OpenAPI document and the page that shows it."""
    # Relative, so that the page also works behind a proxy that puts the edge under another path.
    assets = ASSETS_PATH.removeprefix("/")
    return OpenAPIConfig(
        title="TenantRooms",
        version=API_VERSION,
        description=DESCRIPTION,
        components=security_components(),
        servers=[Server(url="/")],
        render_plugins=[
            SwaggerRenderPlugin(
                path="/",
                js_url=f"{assets}/{_SCRIPT}",
                standalone_preset_js_url=f"{assets}/{_PRESET}",
                css_url=f"{assets}/{_STYLE}",
                favicon=f"<link rel='icon' type='image/png' href='{assets}/{_ICON}'>",
            ),
            JsonRenderPlugin(path=DOCUMENT_PATH.removeprefix(DOCS_PATH), media_type=MediaType.JSON),
        ],
        openapi_router=Router(
            DOCS_PATH,
            route_handlers=[],
            include_in_schema=False,
            response_headers=[
                ResponseHeader(name="Content-Security-Policy", value=_CONTENT_SECURITY_POLICY),
                ResponseHeader(name="X-Content-Type-Options", value="nosniff"),
            ],
        ),
    )


def assets_router() -> Router:
    """Serves the files of Swagger UI."""
    return create_static_files_router(
        path=ASSETS_PATH, directories=[_assets_folder()], include_in_schema=False, name="assets"
    )


def _assets_folder() -> Path:
    # The package is a Django app whose `__init__` imports Django; only its files are wanted.
    spec = find_spec("drf_spectacular_sidecar")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("drf-spectacular-sidecar is not installed")
    return Path(spec.submodule_search_locations[0]) / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist"
