"""The TenantRooms gRPC service: all policy, and the only part that speaks to LiveKit."""
