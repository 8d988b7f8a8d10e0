"""Measures TenantRooms next to its yardsticks: `make bench`, `make profile`."""
