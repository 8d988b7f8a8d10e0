"""The gate at which calls on a stream wait."""

import pytest

from tests.service.relay_streams import Gate


@pytest.fixture
def gate() -> Gate:
    return Gate()
