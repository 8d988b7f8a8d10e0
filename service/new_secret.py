"""`python -m service.new_secret ID`: makes an API secret, and the entry with its digest for the service.

The secret is shown once and kept nowhere: the entry has its digest alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence

import yaml

from service.auth.generated_secrets import digest_of, new_secret
from service.auth.principal import is_tenant_id


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a secret and its entry, and gives the exit code: 0, or 2 when the arguments cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m service.new_secret", description="Makes an API secret, and the entry with its digest."
    )
    parser.add_argument("id", metavar="ID", help="the tenant's id, or an operator's name", type=_id)
    parser.add_argument("--role", choices=["tenant", "operator"], default="tenant")
    parser.add_argument(
        "--yaml", action="store_true", help="the entry as a YAML file of tenants has it, not as the JSON list"
    )
    given = parser.parse_args(arguments)

    secret = new_secret()
    role = {} if given.role == "tenant" else {"role": given.role}
    digest = digest_of(secret)
    if given.yaml:
        place = "TENANTROOMS_TENANTS_FILE"
        entry = yaml.safe_dump(
            [{"id": given.id, "secrets": [digest], **role}],
            allow_unicode=given.id.isprintable(),  # a rare line end would not be read as it was written
            sort_keys=False,
            width=10_000,
        ).rstrip("\n")
    else:
        place = "AUTH_API_SECRETS_JSON"
        entry = json.dumps({"id": given.id, "secret": digest, **role}, ensure_ascii=False)
    print(
        f"The secret, for the caller. It is shown this once:\n\n{secret}\n\nThe entry for {place}:\n\n{entry}"
    )
    return 0


def _id(text: str) -> str:
    if not is_tenant_id(text):
        raise argparse.ArgumentTypeError("it is blank, padded with blanks or not valid Unicode")
    return text


if __name__ == "__main__":
    sys.exit(main())
