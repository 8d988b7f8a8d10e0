"""One fetch of a key set: what is asked, how long it may take, and who is trusted."""

from pathlib import Path

import aiohttp
import pytest

from service.auth.identity_provider import IdentityProvider
from service.auth.jwks import MAX_BYTES
from service.auth.key_set import fetch, open_key_set
from service.errors import AuthServiceUnavailable
from service.upstream_http import Trust, trusting
from tests.service.auth.key_sets import MAX_STALE, NEW, OLD
from tests.service.auth.oidc import OF_ACME, RULES, verifier_with
from tests.support.certificates import self_signed
from tests.support.identity_provider import IdentityProviderDouble, an_answer, key_set


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


async def test_a_key_set_of_the_full_size_is_read(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.answer = an_answer(200, key_set(*[NEW.jwk(use="enc")] * 99, OLD).ljust(MAX_BYTES))
    assert await verifier.verify(OLD.token()) == OF_ACME


# --- TLS --------------------------------------------------------------------------------------------------


async def test_a_provider_is_trusted_by_the_given_authorities_alone_and_by_others_from_the_next_fetch_on(
    tmp_path: Path,
) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = self_signed(tmp_path / "own"), self_signed(tmp_path / "other")
    async with IdentityProviderDouble([OLD], tls=own.server_context()) as double:
        for trusted in (True, trusting(None), other.trusting_context()):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await fetch(double.jwks_url, trusted)
        assert double.fetches == []
        trust = Trust(other.trusting_context())
        async with open_key_set(double.jwks_url, trust, RULES.algorithms, MAX_STALE) as keys:
            verifier = verifier_with(keys)
            with pytest.raises(AuthServiceUnavailable):
                await verifier.verify(OLD.token())
            trust.context = own.trusting_context()
            assert await keys._refresh()
            assert await verifier.verify(OLD.token()) == OF_ACME


async def test_an_expired_certificate_is_not_trusted(tmp_path: Path) -> None:
    expired = self_signed(tmp_path, expired=True)
    async with IdentityProviderDouble([OLD], tls=expired.server_context()) as double:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await fetch(double.jwks_url, expired.trusting_context())
        assert double.fetches == []
