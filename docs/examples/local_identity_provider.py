"""A little identity provider to try TenantRooms with: it publishes a key, and signs a token for whoever asks.

    python docs/examples/local_identity_provider.py 8081

    curl http://127.0.0.1:8081/keys                  the key set (JWKS)
    curl http://127.0.0.1:8081/token?tenant=acme     a token of the tenant acme, good for five minutes
    curl http://127.0.0.1:8081/token?role=operator   a token of an operator
    curl -X POST http://127.0.0.1:8081/rotate        a new key, in the place of the old one

Anybody who reaches the port gets any token: it is for one machine, and for trying things out.
"""

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

ISSUER = "http://127.0.0.1/local-identity-provider"
AUDIENCE = "tenantrooms"


class SigningKey:
    """A P-256 key with an id of its own."""

    def __init__(self) -> None:
        self.kid = f"key-{time.time_ns()}"
        self.private = generate_private_key(SECP256R1())

    def published(self) -> str:
        """The key set with the public half."""
        key = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return json.dumps({"keys": [{**key, "kid": self.kid, "alg": "ES256", "use": "sig"}]})

    def token(self, claims: dict[str, str]) -> str:
        """A token with these claims beside the usual ones."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 300}
        return jwt.encode({**usual, **claims}, self.private, "ES256", {"kid": self.kid})


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    key: ClassVar[SigningKey] = SigningKey()

    def do_GET(self) -> None:
        """The key set, or a token with the claims in the query."""
        address = urlsplit(self.path)
        if address.path == "/keys":
            self._answer(200, self.key.published())
        elif address.path == "/token":
            self._answer(200, self.key.token(dict(parse_qsl(address.query))))
        else:
            self._answer(404, "there are /keys, /token and /rotate\n")

    def do_POST(self) -> None:
        """A new key."""
        if self.path == "/rotate":
            Handler.key = SigningKey()
            self._answer(200, f"{self.key.kid}\n")
        else:
            self._answer(404, "there is /rotate\n")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serves on the loopback address until it is stopped."""
    parser = argparse.ArgumentParser(description="Signs tokens to try TenantRooms with.")
    parser.add_argument("port", type=int)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/keys", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
