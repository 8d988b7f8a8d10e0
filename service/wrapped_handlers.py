"""Owns that an interceptor wraps each rpc once, and not anew for each call.

Step before: an interceptor has the handler that the next one gave. What belongs to one call reaches the
wrapper by context variables, which a call has for itself.
"""

from collections.abc import Callable

from service.rpc_types import Handler


class WrappedHandlers:
    """Each rpc's handler as one interceptor gives it.

    Args:
        wrap: makes it, from the rpc's full method and the handler that the next interceptor gave.
    """

    def __init__(self, wrap: "Callable[[str, Handler], Handler]") -> None:
        self._wrap = wrap
        # By method. The handler that was wrapped is kept with it, as another may come for the same method.
        self._kept: dict[str, tuple[Handler, Handler]] = {}

    def of(self, method: str, handler: "Handler") -> "Handler":
        """The wrapped handler, the same each time for the same one."""
        kept = self._kept.get(method)
        if kept is None or kept[0] is not handler:
            kept = self._kept[method] = handler, self._wrap(method, handler)
        return kept[1]
