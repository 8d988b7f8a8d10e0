"""A small auth service, to try delegated authentication with: it knows two tokens.

python docs/examples/auth_service.py signing-key.pub 8099
"""

import sys
from pathlib import Path

import jwt
from aiohttp import web

TENANTS = {"token-of-acme": "acme", "token-of-globex": "globex"}


def application(public_key: str) -> web.Application:
    """The service; it trusts questions that this key's private half has signed."""

    async def verify(request: web.Request) -> web.Response:
        try:
            question = jwt.decode(
                await request.text(), public_key, algorithms=["RS256", "ES256"], subject="sayna-auth"
            )
        except jwt.PyJWTError:
            return web.Response(status=400)
        tenant = TENANTS.get(question["auth_data"]["token"])
        return web.json_response({"id": tenant}) if tenant else web.Response(status=401)

    service = web.Application()
    service.router.add_post("/", verify)
    return service


if __name__ == "__main__":
    web.run_app(application(Path(sys.argv[1]).read_text("utf-8")), host="127.0.0.1", port=int(sys.argv[2]))
