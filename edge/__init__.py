"""The REST edge: turns the documented HTTP routes into calls of the TenantRooms service.

It holds no policy: who may see what is the service's to say. A request goes through
`asgi` ▸ (`paths`, `credentials`, `exchange`) ▸ Litestar ▸ `rooms` ▸ `relay` ▸ the service, and
its answer through `room_json` or `errors` back to `asgi`.
"""
