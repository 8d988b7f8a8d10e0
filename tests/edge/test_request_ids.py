"""Which request id a request gets."""

import re

import pytest

from edge.request_ids import RequestIds


@pytest.mark.parametrize("sent", [b"a", b"A-Za-z0-9._-", b"x" * 128, b"..", b"0"])
def test_a_well_formed_id_is_kept(sent: bytes) -> None:
    assert RequestIds().choose([sent]) == sent.decode()
    assert RequestIds().choose([sent, sent]) == sent.decode()


@pytest.mark.parametrize(
    "sent",
    [[], [b""], [b"x" * 129], [b"a b"], [b"a\n"], [b"a/b"], [b"caf\xc3\xa9"], [b"a", b"b"], [b"a", b""]],
)
def test_anything_else_gets_a_new_id(sent: list[bytes]) -> None:
    chosen = RequestIds().choose(sent)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", chosen)
    assert chosen.encode() not in sent


def test_new_ids_differ_within_a_process_and_between_processes() -> None:
    one, other = RequestIds(), RequestIds()
    ids = [ids.choose([]) for ids in (one, other) for _ in range(100)]
    assert len(set(ids)) == 200
