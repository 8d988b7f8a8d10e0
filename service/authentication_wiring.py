"""Owns the wiring of authentication: builds the verifiers that the settings name, in the contract's order.

Step before: `service.server`, at start and after each reload. Step after: `service.auth.authenticator`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from service.auth.api_secrets import ApiSecrets
from service.auth.auth_service import AuthService, open_questions
from service.auth.authenticator import Authenticator, Verifier
from service.auth.identity_provider import open_identity_provider
from service.auth.signing import Signer
from service.auth.verdict_cache import VerdictCache
from service.settings import Settings


@asynccontextmanager
async def open_lasting_verifiers(
    settings: Settings, on_fetch: Callable[[bool], None] = lambda _: None
) -> AsyncIterator[list[Verifier]]:
    """The verifiers that outlive a reload: the identity provider, which keeps its keys fresh by itself.

    Opened anew it would be without keys until the provider has answered.

    Args:
        settings: those in force at first.
        on_fetch: told of each fetch of the keys whether it gave usable ones.
    """
    if settings.oidc_rules is None or settings.oidc_jwks is None:
        yield []
        return
    async with open_identity_provider(
        settings.oidc_rules, settings.oidc_jwks, settings.oidc_ca_file, on_fetch
    ) as provider:
        yield [provider]


@asynccontextmanager
async def open_authenticator(settings: Settings, lasting: list[Verifier]) -> AsyncIterator[Authenticator]:
    """An authenticator for these settings; what it needs is open until the context ends.

    Args:
        settings: those in force from now on.
        lasting: what `open_lasting_verifiers` gave at start.
    """
    async with AsyncExitStack() as stack:
        secrets: list[Verifier] = [ApiSecrets(settings.api_secrets)] if settings.api_secrets else []
        auth_service = None
        asked = settings.auth_service_after_api_secrets or not settings.api_secrets
        if settings.auth_service_url and settings.auth_signing_key and asked:
            session = await stack.enter_async_context(open_questions(settings.auth_service_ca_file))
            keeps = settings.auth_service_cache_seconds
            auth_service = AuthService(
                session,
                settings.auth_service_url,
                Signer(settings.auth_signing_key),
                timeout=settings.auth_timeout_seconds,
                allow_no_id=settings.auth_service_allow_no_id,
                cache=VerdictCache(keeps) if keeps else None,
            )
        yield Authenticator([*secrets, *lasting], auth_service, required=settings.auth_required)


def longest_use_seconds(settings: Settings) -> float:
    """How long a call may need its authenticator: it waits for a run under way, and then for its own."""
    return 2 * settings.auth_timeout_seconds + 1
