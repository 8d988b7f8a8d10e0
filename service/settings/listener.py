"""Owns the settings of the service's own listener and answers."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator

from common.addresses import is_local
from service.certificates import Certificates, ListenerCertificates, TlsKey, read_certificates, read_tls_key
from service.consistency import Consistency
from service.settings.values import Flag, ListenAddress, read_file

AGE_WITH_CLIENT_CERTIFICATES: Final = 300.0

_CERTIFICATE: Final = "TENANTROOMS_GRPC_TLS_CERT_FILE"
_KEY: Final = "TENANTROOMS_GRPC_TLS_KEY_FILE"
_CLIENT_CA: Final = "TENANTROOMS_GRPC_TLS_CLIENT_CA_FILE"


def _certificates(value: str) -> Certificates:
    return read_certificates(read_file(value))


def _key(value: str) -> TlsKey:
    return read_tls_key(read_file(value))


class ListenerSettings(BaseModel):
    """Where the service listens, what it offers there, and how it stops."""

    grpc_listen: ListenAddress = Field("127.0.0.1:50051", alias="TENANTROOMS_GRPC_LISTEN")
    grpc_tls_chain: Annotated[Certificates | None, BeforeValidator(_certificates)] = Field(
        None, alias=_CERTIFICATE
    )
    grpc_tls_key: Annotated[TlsKey | None, BeforeValidator(_key)] = Field(None, alias=_KEY)
    grpc_tls_client_ca: Annotated[Certificates | None, BeforeValidator(_certificates)] = Field(
        None, alias=_CLIENT_CA
    )
    grpc_max_connection_age: float | None = Field(
        None, alias="TENANTROOMS_GRPC_MAX_CONNECTION_AGE_SECONDS", ge=1, le=86_400
    )
    relay: Flag = Field(True, alias="TENANTROOMS_RELAY")
    reflection: Flag = Field(True, alias="TENANTROOMS_REFLECTION")
    list_consistency: Consistency = Field(Consistency.FULL, alias="TENANTROOMS_LIST_CONSISTENCY")
    index_interval_seconds: float = Field(1, alias="TENANTROOMS_INDEX_INTERVAL_SECONDS", ge=0.1, le=3600)
    drain_seconds: float = Field(5, alias="TENANTROOMS_DRAIN_SECONDS", ge=0, le=300)

    @field_validator("grpc_tls_key", mode="after")
    @classmethod
    def _key_fits(cls, key: TlsKey | None, info: ValidationInfo) -> TlsKey | None:
        chain = info.data.get("grpc_tls_chain")
        if key is not None and chain is not None and key.public != chain.public:
            raise ValueError(f"names a key that is not that of the first certificate in {_CERTIFICATE}")
        return key

    @property
    def grpc_certificates(self) -> ListenerCertificates | None:
        """What the listener shows and asks for, or None when it is plain text."""
        if self.grpc_tls_chain is None or self.grpc_tls_key is None:
            return None
        return ListenerCertificates(self.grpc_tls_chain, self.grpc_tls_key, self.grpc_tls_client_ca)

    @property
    def grpc_max_connection_age_seconds(self) -> float | None:
        """How long a client keeps one connection; None for as long as it likes.

        Bounded by default where clients show certificates, as an open connection asks for none again.
        """
        if self.grpc_max_connection_age is None and self.grpc_tls_client_ca is not None:
            return AGE_WITH_CLIENT_CERTIFICATES
        return self.grpc_max_connection_age

    def listener_warnings(self) -> Iterator[str]:
        """What an operator should read at start-up, one line each."""
        if self.grpc_tls_chain is None and not is_local(self.grpc_listen):
            yield (
                "TENANTROOMS_GRPC_LISTEN is plain text where other machines can reach it: whoever is on the "
                f"way reads credentials and rooms; {_CERTIFICATE} and {_KEY} encrypt it"
            )

    def listener_out_of_date(self, before: "ListenerSettings | None", now: dt.datetime) -> Iterator[str]:
        """Certificates that are not valid now. Those that were in use before are not looked at.

        One that ends while it is in use must not keep anything else from being taken up.
        """
        chain, client_ca = self.grpc_tls_chain, self.grpc_tls_client_ca
        if chain is not None and (before is None or chain != before.grpc_tls_chain):
            yield from (f"{_CERTIFICATE} {problem}" for problem in chain.chain_problems(now))
        if client_ca is not None and (before is None or client_ca != before.grpc_tls_client_ca):
            yield from (f"{_CLIENT_CA} {problem}" for problem in client_ca.trust_problems(now))


def listener_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if (_CERTIFICATE in values) != (_KEY in values):
        yield f"{_CERTIFICATE} and {_KEY} go together: set both or neither"
    if _CLIENT_CA in values and _CERTIFICATE not in values:
        yield f"{_CLIENT_CA} is set without {_CERTIFICATE}: clients show certificates over TLS only"
