"""The relay: many calls on one stream. `servicer` ▸ `stream` ▸ `calls`, and back through `outbox`."""
