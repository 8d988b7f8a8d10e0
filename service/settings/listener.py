"""Owns the settings of the service's own listener and answers."""

from pydantic import BaseModel, Field

from service.consistency import Consistency
from service.settings.values import Flag, ListenAddress


class ListenerSettings(BaseModel):
    """Where the service listens, what it offers there, and how it stops."""

    grpc_listen: ListenAddress = Field("127.0.0.1:50051", alias="TENANTROOMS_GRPC_LISTEN")
    reflection: Flag = Field(True, alias="TENANTROOMS_REFLECTION")
    list_consistency: Consistency = Field(Consistency.FULL, alias="TENANTROOMS_LIST_CONSISTENCY")
    index_interval_seconds: float = Field(1, alias="TENANTROOMS_INDEX_INTERVAL_SECONDS", ge=0.1, le=3600)
    drain_seconds: float = Field(5, alias="TENANTROOMS_DRAIN_SECONDS", ge=0, le=300)
