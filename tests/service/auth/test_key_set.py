"""The identity provider's keys over real HTTP and from a file: kept, renewed, and not asked for too often."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import structlog

from service.auth.identity_provider import IdentityProvider, open_identity_provider
from service.auth.jwks import MAX_BYTES
from service.auth.key_set import (
    REFRESH_SECONDS,
    RETRY_SECONDS,
    SECONDS_BETWEEN_DEMANDS,
    FetchedKeySet,
    KeySetFile,
    fetch,
    open_key_set,
)
from service.auth.principal import Principal, Tenant, TenantId
from service.errors import AuthServiceUnavailable, CredentialRejected
from tests.service.auth.test_identity_provider import RULES
from tests.support.certificates import self_signed
from tests.support.identity_provider import (
    NOW,
    Answer,
    IdentityProviderDouble,
    SigningKey,
    an_answer,
    broken_off,
    ec_key,
    ed25519_key,
    endless,
    key_set,
    rsa_key,
)

OLD, NEW = ec_key("old"), rsa_key("new")
OF_ACME = Tenant(TenantId("acme"))


class Clock:
    """Seconds that go forward when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Pauses:
    """Pauses that end when a test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[float] = asyncio.Queue()
        self._ends: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self, seconds: float) -> None:
        self.begun.put_nowait(seconds)
        await self._ends.get()

    def end(self) -> None:
        self._ends.put_nowait(None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def double() -> AsyncIterator[IdentityProviderDouble]:
    async with IdentityProviderDouble([OLD]) as running:
        yield running


@pytest.fixture
async def keys(double: IdentityProviderDouble, clock: Clock, pauses: Pauses) -> AsyncIterator[FetchedKeySet]:
    """Keys that nobody keeps fresh unless the test does."""
    fetched = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, clock, pauses)
    yield fetched
    await fetched.close()


@pytest.fixture
def verifier(keys: FetchedKeySet) -> IdentityProvider:
    return IdentityProvider(keys, RULES, lambda: NOW)


@pytest.fixture
async def keeping_fresh(keys: FetchedKeySet) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.keep_fresh())
    yield
    task.cancel()
    await asyncio.wait([task])


def unknown(number: int) -> str:
    """A token that names a key which does not exist."""
    return OLD.token({"kid": f"made-up-{number}"})


# --- fetching ---------------------------------------------------------------------------------------------


async def test_the_keys_are_fetched_once_for_all_who_come_and_kept(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.gate.clear()
    callers = [asyncio.create_task(verifier.verify(OLD.token(sub=str(number)))) for number in range(20)]
    await double.until_fetched(1)
    double.gate.set()
    assert await asyncio.gather(*callers) == [OF_ACME] * 20
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert len(double.fetches) == 1


async def test_a_fetch_asks_for_a_plain_document_and_tells_nothing(double: IdentityProviderDouble) -> None:
    assert await fetch(double.jwks_url) == key_set(OLD)
    (headers,) = double.fetches
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"].startswith("application/jwk-set+json")
    assert not {"Authorization", "Cookie"} & headers.keys()


async def test_proxies_in_the_environment_are_not_used(
    double: IdentityProviderDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert await fetch(double.jwks_url) == key_set(OLD)


async def test_a_fetch_has_a_deadline(double: IdentityProviderDouble) -> None:
    double.gate.clear()
    with pytest.raises(TimeoutError):
        await fetch(double.jwks_url, seconds=0.05)


BAD_ANSWERS: dict[str, Callable[[IdentityProviderDouble], Answer]] = {
    "404": lambda _: an_answer(404, key_set(NEW)),
    "500": lambda _: an_answer(500, key_set(NEW)),
    "204": lambda _: an_answer(204),
    "203 with keys": lambda _: an_answer(203, key_set(NEW)),
    "a redirect": lambda double: an_answer(302, Location=double.jwks_url + "/elsewhere"),
    "a permanent redirect": lambda double: an_answer(308, Location=double.jwks_url + "/elsewhere"),
    "an empty body": lambda _: an_answer(200),
    "HTML": lambda _: an_answer(200, b"<!doctype html><title>Sign in</title>"),
    "no object": lambda _: an_answer(200, b"[1, 2]"),
    "no keys": lambda _: an_answer(200, b"{}"),
    "no key": lambda _: an_answer(200, b'{"keys": []}'),
    "keys that are no list": lambda _: an_answer(200, b'{"keys": {"kid": "new"}}'),
    "keys for encryption alone": lambda _: an_answer(200, key_set(NEW.jwk(use="enc"))),
    "too many keys": lambda _: an_answer(200, key_set(*[NEW.jwk()] * 101)),
    "far too deep": lambda _: an_answer(200, b"[" * 100_000),
    "not UTF-8": lambda _: an_answer(200, b'{"keys": ["\xff"]}'),
    "an encoded body": lambda _: an_answer(200, key_set(NEW), Content_Encoding="gzip"),
    "a byte too many": lambda _: an_answer(200, key_set(NEW).ljust(MAX_BYTES + 1)),
    "a body without end": lambda _: endless(),
    "a body that breaks off": lambda _: broken_off(key_set(NEW)),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_a_bad_answer_gives_no_keys_and_takes_none_away(
    verifier: IdentityProvider,
    double: IdentityProviderDouble,
    clock: Clock,
    bad: Callable[[IdentityProviderDouble], Answer],
) -> None:
    double.answer = bad(double)
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(NEW.token())

    double.answer = None
    clock.now += SECONDS_BETWEEN_DEMANDS
    assert await verifier.verify(OLD.token()) == OF_ACME

    double.answer = bad(double)
    clock.now += SECONDS_BETWEEN_DEMANDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(NEW.token())
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert (len(double.fetches), double.elsewhere) == (3, 0)


async def test_a_key_set_of_the_full_size_is_read(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.answer = an_answer(200, key_set(*[NEW.jwk(use="enc")] * 99, OLD).ljust(MAX_BYTES))
    assert await verifier.verify(OLD.token()) == OF_ACME


# --- outages ----------------------------------------------------------------------------------------------


async def test_a_provider_that_was_never_up_is_unavailable_and_asked_again_at_a_bounded_rate(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await double.stop()
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())

    await double.start()
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())
    assert double.fetches == []

    clock.now += SECONDS_BETWEEN_DEMANDS
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_a_provider_that_is_down_takes_nobodys_access_away(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())
    await double.stop()
    clock.now += 10 * REFRESH_SECONDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(unknown(1))
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_while_the_provider_is_slow_known_keys_verify_without_waiting(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())
    double.gate.clear()
    clock.now += SECONDS_BETWEEN_DEMANDS
    waiting = asyncio.create_task(verifier.verify(unknown(1)))
    await double.until_fetched(2)
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert not waiting.done()
    double.gate.set()
    with pytest.raises(CredentialRejected):
        await waiting


async def test_callers_that_leave_do_not_end_the_fetch(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.gate.clear()
    impatient = asyncio.create_task(verifier.verify(OLD.token()))
    await double.until_fetched(1)
    impatient.cancel()
    await asyncio.wait([impatient])
    patient = asyncio.create_task(verifier.verify(OLD.token()))
    double.gate.set()
    assert await patient == OF_ACME
    assert len(double.fetches) == 1


async def test_a_failed_fetch_is_logged_without_anybodys_token(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.answer = an_answer(503)
    token = OLD.token()
    with structlog.testing.capture_logs() as logs, pytest.raises(AuthServiceUnavailable):
        await verifier.verify(token)
    assert [(entry["log_level"], entry["problem"], entry["old_keys_stay"]) for entry in logs] == [
        ("warning", "the answer is 503", False)
    ]
    assert token not in str(logs)


# --- rotation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [NEW, ed25519_key("newer")], ids=["RSA", "Ed25519"])
async def test_a_rotation_in_the_middle_of_a_stream_of_calls_fails_none_of_them(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock, new: SigningKey
) -> None:
    signing = OLD

    async def stream(caller: int) -> list[Principal | None]:
        answers = []
        for call in range(30):
            if caller == 0 and call == 10:
                rotate()
            answers.append(await verifier.verify(signing.token(sub=f"{caller}-{call}")))
            await asyncio.sleep(0)
        return answers

    def rotate() -> None:
        nonlocal signing
        double.keys = [OLD, new]  # as providers do: published first, used then
        signing = new
        clock.now += SECONDS_BETWEEN_DEMANDS

    answers = await asyncio.gather(*map(stream, range(8)))
    assert answers == [[OF_ACME] * 30] * 8
    assert len(double.fetches) == 2


async def test_a_flood_of_made_up_keys_costs_one_fetch_in_a_time(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())

    async def flood() -> None:
        refusals = await asyncio.gather(
            *(verifier.verify(unknown(number)) for number in range(200)), return_exceptions=True
        )
        assert {type(refusal) for refusal in refusals} == {CredentialRejected}
        for number in range(100):
            with pytest.raises(CredentialRejected):
                await verifier.verify(unknown(number))

    await flood()
    assert len(double.fetches) == 1  # the one that the first token was owed counts
    for fetches in (2, 3):
        clock.now += SECONDS_BETWEEN_DEMANDS
        await flood()
        assert len(double.fetches) == fetches
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_neither_foreign_tokens_nor_disallowed_algorithms_make_anybody_fetch(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    assert await verifier.verify(OLD.token(iss="https://other.example.com")) is None
    with pytest.raises(CredentialRejected):
        await verifier.verify(NEW.sign(b'{"iss": "%s"}' % RULES.issuer.encode(), "PS256"))
    assert double.fetches == []


@pytest.mark.usefixtures("keeping_fresh")
async def test_keys_are_fetched_at_start_and_again_when_old_and_withdrawn_ones_end(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    assert await pauses.begun.get() == REFRESH_SECONDS
    assert len(double.fetches) == 1  # nobody has asked for anything yet
    double.keys = [NEW]
    assert await verifier.verify(OLD.token()) == OF_ACME
    pauses.end()
    assert await pauses.begun.get() == REFRESH_SECONDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(OLD.token())
    assert await verifier.verify(NEW.token()) == OF_ACME


@pytest.mark.usefixtures("keeping_fresh")
async def test_a_new_key_is_fetched_on_sight_though_the_old_ones_are_fresh(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    await pauses.begun.get()
    double.keys = [NEW]
    assert await verifier.verify(NEW.token()) == OF_ACME
    assert len(double.fetches) == 2


@pytest.mark.usefixtures("keeping_fresh")
async def test_a_failed_refresh_is_tried_again_sooner(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    await pauses.begun.get()
    await double.stop()
    for _ in range(2):
        pauses.end()
        assert await pauses.begun.get() == RETRY_SECONDS
        assert await verifier.verify(OLD.token()) == OF_ACME
    await double.start()
    pauses.end()
    assert await pauses.begun.get() == REFRESH_SECONDS


# --- opening and closing ----------------------------------------------------------------------------------


async def test_opening_does_not_wait_for_the_provider_and_closing_ends_the_fetch() -> None:
    async with IdentityProviderDouble([OLD]) as double:
        double.gate.clear()
        before = asyncio.all_tasks()
        async with open_key_set(double.jwks_url, None, RULES.algorithms):
            await double.until_fetched(1)
        assert not [task for task in asyncio.all_tasks() - before if "_fetch_keys" in repr(task)]
        assert not [task for task in asyncio.all_tasks() - before if "keep_fresh" in repr(task)]


async def test_the_whole_verifier_is_opened_by_an_address_or_a_file(
    double: IdentityProviderDouble, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_bytes(key_set(OLD))
    for jwks in (double.jwks_url, tmp_path / "keys.json"):
        async with open_identity_provider(RULES, jwks, None) as verifier:
            with pytest.raises(
                CredentialRejected, match="expired"
            ):  # by the real clock, decades early or late
                await verifier.verify(OLD.token(iat=0, exp=1))


# --- TLS --------------------------------------------------------------------------------------------------


async def test_a_provider_is_trusted_by_the_given_ca_alone_and_a_new_ca_file_is_taken_up(
    tmp_path: Path,
) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = self_signed(tmp_path / "own"), self_signed(tmp_path / "other")
    ca_file = tmp_path / "ca.pem"
    async with IdentityProviderDouble([OLD], tls=own.server_context()) as double:
        for trusted in (None, other.certificate):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await fetch(double.jwks_url, trusted)
        assert double.fetches == []
        ca_file.write_bytes(other.certificate.read_bytes())
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await fetch(double.jwks_url, ca_file)
        ca_file.write_bytes(own.certificate.read_bytes())
        assert await fetch(double.jwks_url, ca_file) == key_set(OLD)


async def test_an_expired_certificate_is_not_trusted(tmp_path: Path) -> None:
    expired = self_signed(tmp_path, expired=True)
    async with IdentityProviderDouble([OLD], tls=expired.server_context()) as double:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await fetch(double.jwks_url, expired.certificate)
        assert double.fetches == []


async def test_a_ca_file_that_breaks_later_takes_nobodys_access_away(tmp_path: Path, clock: Clock) -> None:
    own = self_signed(tmp_path)
    async with IdentityProviderDouble([OLD], tls=own.server_context()) as double:
        keys = FetchedKeySet(
            lambda: fetch(double.jwks_url, own.certificate), RULES.algorithms, clock, asyncio.sleep
        )
        verifier = IdentityProvider(keys, RULES, lambda: NOW)
        assert await verifier.verify(OLD.token()) == OF_ACME
        own.certificate.write_text("broken")
        clock.now += SECONDS_BETWEEN_DEMANDS
        with pytest.raises(CredentialRejected):
            await verifier.verify(unknown(1))
        assert await verifier.verify(OLD.token()) == OF_ACME


# --- from a file ------------------------------------------------------------------------------------------


def from_file(path: Path) -> IdentityProvider:
    return IdentityProvider(KeySetFile(path, RULES.algorithms), RULES, lambda: NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(OLD))
    return path


def write_anew(path: Path, document: bytes) -> None:
    path.write_bytes(document)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, document: bytes) -> None:
    path.with_suffix(".new").write_bytes(document)
    path.with_suffix(".new").replace(path)


def replace_keeping_the_time(path: Path, document: bytes) -> None:
    """As backup tools do it."""
    times = path.stat()
    replace(path, document)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [write_anew, replace, replace_keeping_the_time])
async def test_a_file_that_changed_is_read_again(file: Path, change: Callable[[Path, bytes], None]) -> None:
    verifier = from_file(file)
    assert await verifier.verify(OLD.token()) == OF_ACME
    change(file, key_set(NEW))
    assert await verifier.verify(NEW.token()) == OF_ACME
    with pytest.raises(CredentialRejected):
        await verifier.verify(OLD.token())


@pytest.mark.parametrize(
    "broken", [b"", b"{", b'{"keys": []}', key_set(NEW)[:-1], key_set(NEW).ljust(MAX_BYTES + 1)]
)
async def test_a_broken_new_file_keeps_the_old_keys_and_says_so_once(file: Path, broken: bytes) -> None:
    verifier = from_file(file)
    assert await verifier.verify(OLD.token()) == OF_ACME
    write_anew(file, broken)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await verifier.verify(OLD.token()) == OF_ACME
    assert [(entry["log_level"], entry["old_keys_stay"]) for entry in logs] == [("warning", True)]
    write_anew(file, key_set(NEW))
    assert await verifier.verify(NEW.token()) == OF_ACME


async def test_a_file_that_is_gone_keeps_the_old_keys_until_it_is_back(file: Path) -> None:
    verifier = from_file(file)
    assert await verifier.verify(OLD.token()) == OF_ACME
    remove(file)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await verifier.verify(OLD.token()) == OF_ACME
    assert len(logs) == 1
    write_anew(file, key_set(NEW))
    assert await verifier.verify(NEW.token()) == OF_ACME


async def test_a_file_that_never_held_keys_is_unavailable_until_it_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    verifier = from_file(path)
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())
    path.write_bytes(key_set(OLD))
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_a_file_that_stays_as_it_is_is_not_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = from_file(file)
    await verifier.verify(OLD.token())
    monkeypatch.setattr(Path, "open", None)
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_each_fetch_is_told_by_whether_it_gave_keys(double: IdentityProviderDouble) -> None:
    told: list[bool] = []
    keys = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, on_fetch=told.append)
    answers = [an_answer(500), an_answer(200, b"no keys"), broken_off(b"{"), None]
    for answer in answers:
        double.answer = answer
        await keys._refresh()
    assert told == [False, False, False, True]
