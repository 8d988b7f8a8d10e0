"""Owns the metadata keys under which the edge tells the service about an HTTP request.

Step before: the edge has a request. Step after: the service has the call that it has become.
"""

from typing import Final

FORWARDED_HEADERS_KEY: Final = "tenantrooms-forwarded-headers-bin"
"""The headers of the request, without its credential: JSON, `[[name, value], …]`.

Whoever calls over gRPC could send the same; a header is the caller's own word either way.
"""

CLIENT_ADDRESS_KEY: Final = "tenantrooms-client-address"
"""From where the request came. The service believes it of the edges that it trusts."""
