"""The relay's end at the edge: `client` ▸ `connection` ▸ `stream` ▸ the service, many calls on one stream."""
