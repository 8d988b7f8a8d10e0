"""What the service is told of a request's headers."""

import json

from edge.forwarding import forwarded_headers


def test_all_headers_but_the_credential_are_forwarded_in_their_order_and_to_the_byte() -> None:
    headers = [
        (b"user-agent", b"curl"),
        (b"authorization", b"Bearer secret"),
        (b"accept", b"b"),
        (b"x-name", b"caf\xc3\xa9 \xff"),
        (b"accept", b"a"),
    ]
    assert json.loads(forwarded_headers(headers)) == [
        ["user-agent", "curl"],
        ["accept", "b"],
        ["x-name", b"caf\xc3\xa9 \xff".decode("latin-1")],
        ["accept", "a"],
    ]


def test_no_headers_are_an_empty_list() -> None:
    assert forwarded_headers(()) == b"[]"
