"""What is read of a token before anything about it is known to be true."""

import base64
import gc

from service.auth.claims import unverified_issuer


def test_nothing_is_collected_while_a_strangers_text_recurses() -> None:
    deep = b'{"iss":"https://login.example","a":' + b"[" * 5_000
    token = f"e30.{base64.urlsafe_b64encode(deep).decode().rstrip('=')}.x"
    collections: list[str] = []

    def collects(phase: str, _info: dict[str, int]) -> None:
        collections.append(phase)

    before = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(collects)
    gc.set_threshold(300, *before[1:])  # fewer containers than that text has before Python ends it
    try:
        assert unverified_issuer(token) is None
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(collects)
    assert collections == []
    assert gc.isenabled()
