"""Owns which version runs."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The version that runs, or `unknown`."""
    try:
        return version("tenantrooms")
    except PackageNotFoundError:  # run from a clone that is not installed
        return "unknown"
