"""Owns the wiring of authentication: builds the verifiers that the settings name, in the contract's order.

Step before: `service.server`, at start and after each reload. Step after: `service.auth.authenticator`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

from service.auth.api_secrets import ApiSecrets
from service.auth.auth_service import AuthService, Watch, open_questions
from service.auth.authenticator import Authenticator, Verifier
from service.auth.identity_provider import IdentityProvider, KeySet
from service.auth.key_set import GivenKeySet, open_key_set
from service.auth.key_turns import KeyTurns
from service.auth.question_turns import QuestionTurns
from service.auth.refusal_log import BY_THE_AUTH_SERVICE, RefusalLog
from service.auth.signing import Signer
from service.auth.verdict_cache import VerdictCache
from service.places import Limit
from service.settings import Settings
from service.upstream_http import Trust, trusting


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives a reload.

    Attributes:
        fetched_keys: the identity provider's, which stay fresh by themselves. Opened anew they would be
            unknown until the provider has answered. None when they are not fetched.
        keys_trust: how the provider's certificate is checked.
        refusals: of the identity provider's tokens; counts on from reload to reload.
        auth_service_refusals: so do those of the auth service.
        question_turns: whom the auth service has accepted, and who waits to ask it.
    """

    fetched_keys: KeySet | None
    keys_trust: Trust
    refusals: RefusalLog
    auth_service_refusals: RefusalLog
    question_turns: QuestionTurns


@asynccontextmanager
async def open_lasting(
    settings: Settings,
    on_fetch: Callable[[bool], None] = lambda _: None,
    refused: Callable[[Limit], None] = lambda _: None,
) -> AsyncIterator[Lasting]:
    """What these settings need that outlives them, open until the context ends.

    Args:
        settings: those in force at first.
        on_fetch: told of each fetch of the keys whether it gave usable ones.
        refused: told of each call that may not wait for the auth service, or for keys.
    """
    turns = QuestionTurns(settings.max_calls, refused)
    trust = Trust(trusting(settings.oidc_ca))
    with closing(RefusalLog()) as refusals, closing(RefusalLog(events=BY_THE_AUTH_SERVICE)) as others:
        if settings.oidc_jwks_url is None:
            yield Lasting(None, trust, refusals, others, turns)
            return
        async with open_key_set(
            settings.oidc_jwks_url,
            trust,
            settings.oidc_algorithms,
            settings.oidc_max_stale,
            on_fetch,
            turns=KeyTurns(settings.max_calls, refused),
        ) as keys:
            yield Lasting(keys, trust, refusals, others, turns)


@asynccontextmanager
async def open_authenticator(
    settings: Settings, lasting: Lasting, watch: Watch | None = None
) -> AsyncIterator[Authenticator]:
    """An authenticator for these settings; what it needs is open until the context ends.

    Args:
        settings: those in force from now on.
        lasting: what `open_lasting` gave at start.
        watch: is told of questions to the auth service.
    """
    async with AsyncExitStack() as stack:
        verifiers: list[Verifier] = [ApiSecrets(settings.api_secrets)] if settings.api_secrets else []
        keys = GivenKeySet(settings.oidc_keys) if settings.oidc_keys else lasting.fetched_keys
        if settings.oidc_rules is not None and keys is not None:
            verifiers.append(IdentityProvider(keys, settings.oidc_rules, lasting.refusals))
        auth_service = None
        asked = settings.auth_service_after_api_secrets or not settings.api_secrets
        if settings.auth_service_url and settings.auth_signing_key and asked:
            session = await stack.enter_async_context(open_questions(settings.auth_service_ca))
            keeps = settings.auth_service_cache_seconds
            auth_service = AuthService(
                session,
                settings.auth_service_url,
                Signer(settings.auth_signing_key),
                timeout=settings.auth_timeout_seconds,
                allow_no_id=settings.auth_service_allow_no_id,
                cache=VerdictCache(keeps) if keeps else None,
                watch=watch,
                refusals=lasting.auth_service_refusals,
                turns=lasting.question_turns,
            )
        yield Authenticator(verifiers, auth_service, required=settings.auth_required)


def longest_use_seconds(settings: Settings) -> float:
    """How long a call may need its authenticator: it waits for a run under way, and then for its own."""
    return 2 * settings.auth_timeout_seconds + 1
