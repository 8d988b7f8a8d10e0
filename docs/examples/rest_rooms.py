"""Lists a caller's rooms over REST, or shows one room, with Python's standard library alone.

    TENANTROOMS_TOKEN=… python docs/examples/rest_rooms.py http://127.0.0.1:3001
    TENANTROOMS_TOKEN=… python docs/examples/rest_rooms.py http://127.0.0.1:3001 "interview 24/7"

Exit status: 0, 1 when the answer is an error.
"""

import json
import os
import sys
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit


def ask(base_url: str, path: str, token: str) -> tuple[int, str, Any]:
    """The status, the request id and the decoded body of `GET path`."""
    base = urlsplit(base_url)
    connect = HTTPSConnection if base.scheme == "https" else HTTPConnection
    connection = connect(base.netloc, timeout=10)
    try:
        # The header, and not `?api_key=`: proxies and logs keep URLs.
        connection.request("GET", base.path.rstrip("/") + path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, response.headers["X-Request-Id"], json.load(response)
    finally:
        connection.close()


def main(base_url: str, room_name: str | None = None) -> int:
    """Asks, prints, and gives the exit status."""
    path = "/livekit/rooms"
    if room_name is not None:
        path += "/" + quote(room_name, safe="")  # a slash in a name is %2F
    status, request_id, body = ask(base_url, path, os.environ["TENANTROOMS_TOKEN"])
    if status != 200:
        # Authentication errors have a code and a message, all others one text.
        print(f"{status}: {body.get('message', body['error'])} [request {request_id}]", file=sys.stderr)
        return 1
    if room_name is None:
        for room in body["rooms"]:
            print(f"{room['name']}: {room['num_participants']} participants")
    else:
        print(f"{body['name']}: created {body['creation_time']}, metadata {body['metadata']}")
        for participant in body["participants"]:
            print(f"  {participant['identity']} {participant['state']} {participant['kind']}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or "TENANTROOMS_TOKEN" not in os.environ:
        sys.exit("Give the edge's URL, perhaps a room's name, and a token in TENANTROOMS_TOKEN.")
    sys.exit(main(*sys.argv[1:]))
