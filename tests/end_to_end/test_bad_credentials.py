"""Whatever is presented as a credential is refused in bounded time and memory, at both doors.

All ways to authenticate are set up. `pytest --wall` tries very many more.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_from_bytes

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.end_to_end.callers import RestAnswer
from tests.end_to_end.canary_stage import ROOMS_PATH, Stage, staged
from tests.support.identity_provider import ISSUER, compact, ec_key, good_claims, rsa_key
from tests.support.raw_grpc import raw_call

# Slow when there are 10,000 examples.
pytestmark = pytest.mark.timeout(3600)

LIST_RPC: Final = "/tenantrooms.v1.TenantRooms/ListRooms"
GET_RPC: Final = "/tenantrooms.v1.TenantRooms/GetRoom"
SECONDS: Final = 60
"""For all calls about one credential; most take a hundredth of one."""

# What HTTP itself cannot carry is refused by the server before the application sees it: 400 or 431, bare.
REFUSED_OVER_REST: Final = {400, 401, 414, 431}
# The first is the service's own word; the other is gRPC's about metadata that is too large.
REFUSED_OVER_GRPC: Final = {StatusCode.UNAUTHENTICATED, StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("bad-credentials"), AUTH_TIMEOUT_SECONDS="60") as stage:
        yield stage
        written = stage.written().decode()
        assert "Traceback" not in written
        failures = {"unexpected_error", "rpc failed"}
        records = stage.records()
        assert [record for record in records if record["event"] in failures] == []
        assert [record for record in records if record.get("status", 0) >= 500] == []


async def presented(stage: Stage, token: bytes) -> tuple[list[RestAnswer], list[StatusCode | None]]:
    """This token as a header, as a parameter, and as metadata, as a list and as details."""
    text = token.decode("latin-1")
    in_query = quote_from_bytes(token, safe="")
    header = ("Authorization", f"Bearer {text}")
    async with asyncio.timeout(SECONDS):
        rest = [
            await stage.callers.rest(ROOMS_PATH, None, header),
            await stage.callers.rest(f"{ROOMS_PATH}/own?api_key={in_query}"),
        ]
        address = stage.callers.stack.grpc_address
        metadata = [(b"authorization", b"Bearer " + token)]
        request = pb.GetRoomRequest(room_name="own").SerializeToString()
        codes = [
            (await raw_call(address, LIST_RPC, metadata)).code,
            (await raw_call(address, GET_RPC, metadata, request)).code,
        ]
    return rest, codes


async def refused(stage: Stage, token: bytes) -> None:
    rest, codes = await presented(stage, token)
    for answer in rest:
        assert answer.status in REFUSED_OVER_REST, (answer, token[:200])
        if answer.body:
            assert set(answer.json) <= {"error", "message"}
            assert answer.header("cache-control") == "no-store"
    assert set(codes) <= REFUSED_OVER_GRPC, (codes, token[:200])


def resident_bytes(stage: Stage) -> int:
    status = Path(f"/proc/{stage.callers.stack.service.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


PROVIDER_KEY = ec_key("no key of the provider's")
RSA = rsa_key("nor this")
PUBLIC_PEM = json.dumps(RSA.jwk()).encode()


def unsigned(header: Any, payload: Any) -> bytes:
    """A JWT of these parts with a signature that says nothing."""
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, payload)]
    return compact(*parts, b"signature").encode()


ES256 = {"alg": "ES256", "typ": "JWT"}
OURS = good_claims()
DEEP = b'{"iss":"' + ISSUER.encode() + b'","a":'
ALGORITHMS: list[Any] = [
    *("none", "None", "nOnE", "HS256", "HS512", "RS256", "ES384", "PS256", "EdDSA", "dir", "", "ES256\0"),
    *(5, None, [], {}, ["ES256"]),
]
KEY_IDS: list[Any] = [5, None, [], {}, "", "\0", "x" * 4_000, "\ud800", "\N{VIDEO CAMERA}"]
NO_TIMES = ["1e999", "-1e999", "NaN", "Infinity", '"9999999999"', "true", "null", "[]", "0x10"]
CASES: dict[str, bytes] = {
    **{f"{count} characters": b"x" * count for count in (0, 1, 8_191, 8_192, 8_193, 30_000, 65_536, 71_680)},
    "blanks": b"  ",
    "two words": b"one two",
    "a comma": b"one,two",
    "latin-1": "caf\u00e9".encode("latin-1"),
    "utf-8": "caf\u00e9 \N{VIDEO CAMERA}".encode(),
    "no utf-8": b"\xff\xfe\x80",
    "controls": b"a\x01\x1b[2J\x7f",
    "a line end": b"a\r\nX-Tenant: acme",
    "NUL": b"a\x00b",
    "dots": b"." * 200,
    "one part": unsigned(ES256, OURS).split(b".")[0],
    "two parts": b".".join(unsigned(ES256, OURS).split(b".")[:2]),
    "four parts": unsigned(ES256, OURS) + b".x",
    "no signature": compact(ES256, OURS, b"").encode(),
    "empty parts": b"..",
    "padding": unsigned(ES256, OURS).replace(b".", b"==."),
    "ordinary base64": base64.b64encode(json.dumps(ES256).encode()) + b".e30.e30",
    **{f"alg {algorithm!r}": unsigned({"alg": algorithm}, OURS) for algorithm in ALGORITHMS},
    "no alg": unsigned({"typ": "JWT"}, OURS),
    "HMAC with the public key": RSA.sign(json.dumps(OURS).encode()).encode(),
    "a stranger's signature": PROVIDER_KEY.token().encode(),
    "a stranger's key brought along": PROVIDER_KEY.token({"jwk": PROVIDER_KEY.jwk()}).encode(),
    **{
        f"header {name}": unsigned({**ES256, name: value}, OURS)
        for name, value in {
            "jku": "http://127.0.0.1:1/keys",
            "x5u": "file:///etc/passwd",
            "x5c": ["MII="],
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "cty": "JWT",
            "kid": "../../../etc/passwd",
            "kid ": "' OR 1=1 --",
        }.items()
    },
    **{f"kid {kid!r:.20}": unsigned({**ES256, "kid": kid}, OURS) for kid in KEY_IDS},
    "a huge header": unsigned({**ES256, "x": "y" * 5_000}, OURS),
    "a header beyond all limits": unsigned({**ES256, "x": "y" * 40_000}, OURS),
    "a header that is a list": unsigned([ES256], OURS),
    "a header that is no JSON": unsigned(b"\xff", OURS),
    "alg twice": unsigned(b'{"alg":"ES256","alg":"none"}', OURS),
    "a deep header": unsigned(b'{"alg":' + b"[" * 5_000, OURS),
    "a deep payload": unsigned(ES256, DEEP + b"[" * 5_000),
    "a deep payload that ends": unsigned(ES256, DEEP + b"[" * 2_000 + b"]" * 2_000 + b"}"),
    "a payload 100,000 deep": unsigned(ES256, DEEP + b"[" * 100_000),
    "objects 100,000 deep": unsigned(ES256, DEEP + b'{"a":' * 100_000),
    "iss twice": unsigned(ES256, b'{"iss":"x","iss":"' + ISSUER.encode() + b'"}'),
    "tenant twice": unsigned(ES256, DEEP + b'1,"tenant":"acme","tenant":"globex"}'),
    "exp of 4,000 digits": unsigned(ES256, DEEP + b'1,"exp":' + b"9" * 4_000 + b"}"),
    "exp of 5,000 digits": unsigned(ES256, DEEP + b'1,"exp":' + b"9" * 5_000 + b"}"),
    **{f"exp {value}": unsigned(ES256, DEEP + f'1,"exp":{value}}}'.encode()) for value in NO_TIMES},
    "lone surrogates": unsigned(ES256, DEEP + b'"\\ud800","tenant":"\\udfff"}'),
    "a BOM": unsigned(ES256, b"\xef\xbb\xbf" + json.dumps(OURS).encode()),
    "utf-16": unsigned(ES256, json.dumps(OURS).encode("utf-16")),
    "our issuer in other cases": unsigned(ES256, {**OURS, "iss": ISSUER.upper()}),
    "our issuer with a slash": unsigned(ES256, {**OURS, "iss": ISSUER + "/"}),
    "our issuer among others": unsigned(ES256, {**OURS, "iss": [ISSUER]}),
}


@pytest.mark.parametrize("token", CASES.values(), ids=CASES)
async def test_it_is_refused(stage: Stage, token: bytes) -> None:
    await refused(stage, token)


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "jwk", "x5u", "x5c", "zip"]),
    st.sampled_from(["ES256", "RS256", "none", "HS256", "EdDSA", ""])
    | st.none()
    | st.integers()
    | st.text(max_size=20)
    | st.lists(st.text(max_size=5), max_size=3),
    max_size=5,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "tenant"]),
    st.just(ISSUER) | st.none() | st.integers() | st.floats() | st.text(max_size=20),
    max_size=5,
).map(lambda claims: {"iss": ISSUER, **claims})
TOKENS = (
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.integers(0, 71_680).map(lambda size: b"t" * size)
    | st.lists(st.binary(max_size=60), max_size=6).map(lambda parts: compact(*parts).encode())
    | st.builds(unsigned, HEADERS, CLAIMS | st.binary(max_size=200))
    | st.builds(lambda claims: PROVIDER_KEY.sign(json.dumps(claims).encode()).encode(), CLAIMS)
)


@pytest.mark.wall
@given(TOKENS)
async def test_anything_is_refused(stage: Stage, token: bytes) -> None:
    await refused(stage, token)


METADATA = st.lists(
    st.tuples(
        st.sampled_from([b"authorization", b"x-request-id", b"tenant-id", b"auth-id"]),
        st.binary(max_size=100),
    )
    | st.tuples(
        st.sampled_from([b"tenantrooms-forwarded-headers-bin", b"authorization-bin"]),
        st.binary(max_size=200).map(lambda value: base64.b64encode(value).rstrip(b"=")),
    ),
    max_size=6,
)


@pytest.mark.wall
@given(METADATA)
async def test_any_metadata_is_refused(stage: Stage, metadata: list[tuple[bytes, bytes]]) -> None:
    async with asyncio.timeout(SECONDS):
        answer = await raw_call(stage.callers.stack.grpc_address, LIST_RPC, metadata)
    assert answer.code in REFUSED_OVER_GRPC, answer


async def test_binary_metadata_that_is_none_never_reaches_the_service(stage: Stage) -> None:
    answer = await raw_call(stage.callers.stack.grpc_address, LIST_RPC, [(b"authorization-bin", b"\xff!")])
    assert answer.code is StatusCode.INTERNAL  # gRPC's own word
    assert b"illegal base64 encoding" in answer.content


async def test_many_large_credentials_take_no_memory_that_stays(stage: Stage) -> None:
    names = ("71680 characters", "a payload 100,000 deep", "a deep payload that ends")
    largest = [CASES[name] for name in names]
    for token in largest:  # once, for what is kept for good
        await refused(stage, token)
    before = resident_bytes(stage)
    for _ in range(20):
        for token in largest:
            await refused(stage, token)
    assert resident_bytes(stage) < before + 64 * 2**20


async def test_a_good_credential_is_still_one_afterwards(stage: Stage) -> None:
    for token in (stage.tenant, stage.delegated, stage.signed()):
        rest, codes = await presented(stage, token.encode())
        assert [answer.status for answer in rest] == [200, 200]
        assert codes == [StatusCode.OK, StatusCode.OK]
