"""The bounds of remembered verdicts: nobody can push out what is remembered of others."""

import pytest

from service.auth.principal import Anonymous, Principal, Tenant, TenantId
from service.auth.question import Question
from service.auth.verdict_cache import REFUSED, VerdictCache

ACME, GLOBEX = Tenant(TenantId("acme")), Tenant(TenantId("globex"))


def asked(token: str, **headers: str) -> Question:
    return Question(token, "GET", "/livekit/rooms", tuple(headers.items()))


@pytest.mark.parametrize("principal", [ACME, Anonymous()])
def test_refused_guesses_without_end_push_out_no_grant(principal: Principal) -> None:
    cache = VerdictCache(60, most_grants=2, most_refusals=3)
    cache.put(asked("good"), principal)
    for guess in range(10):
        cache.put(asked(f"guess {guess}"), REFUSED)
    assert cache.get(asked("good")) == principal
    assert [cache.get(asked(f"guess {guess}")) for guess in (6, 7, 8, 9)] == [None, *[REFUSED] * 3]


def test_a_tenant_that_asks_in_ever_new_ways_pushes_out_its_own_grants_alone() -> None:
    cache = VerdictCache(60, most_grants=6)
    others = [asked("globex's"), asked("globex's", accept="*/*"), asked("initech's")]
    for question in others:
        cache.put(question, GLOBEX if question.token == "globex's" else Tenant(TenantId("initech")))
    for number in range(100):
        cache.put(asked("acme's", header=str(number)), ACME)
    assert None not in map(cache.get, others)
    assert [cache.get(asked("acme's", header=str(number))) for number in (96, 97, 98, 99)] == [
        None,
        *[ACME] * 3,
    ]


def test_one_tenant_alone_may_have_all_room_and_gives_it_back_to_those_that_come() -> None:
    cache = VerdictCache(60, most_grants=4)
    for number in range(4):
        cache.put(asked("acme's", header=str(number)), ACME)
    assert cache.get(asked("acme's", header="0")) == ACME
    for number in range(4):
        cache.put(asked("globex's", header=str(number)), GLOBEX)
    kept = [
        [cache.get(asked(token, header=str(number))) is not None for number in range(4)]
        for token in ("acme's", "globex's")
    ]
    assert kept == [[False, False, True, True]] * 2


def test_the_newest_verdict_on_a_question_is_the_one_that_counts() -> None:
    now = 0.0
    cache = VerdictCache(10, lambda: now)
    for verdict in (ACME, REFUSED, GLOBEX, ACME):
        cache.put(asked("t"), verdict)
        assert cache.get(asked("t")) == verdict
        now += 6
    assert cache.get(asked("t")) == ACME
    now += 4
    assert cache.get(asked("t")) is None


def test_expired_grants_take_no_room_from_others() -> None:
    now = 0.0
    cache = VerdictCache(10, lambda: now, most_grants=3)
    for number in range(3):
        cache.put(asked("acme's", header=str(number)), ACME)
        now += 1
    now = 11.5  # two of them are over
    for number in range(2):
        cache.put(asked("globex's", header=str(number)), GLOBEX)
    assert cache.get(asked("acme's", header="2")) == ACME
    assert cache.get(asked("globex's", header="0")) == cache.get(asked("globex's", header="1")) == GLOBEX
