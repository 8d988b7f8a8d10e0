"""`python -m service`: runs the TenantRooms gRPC service until it is told to stop."""

import sys

from common.logs import LogLevel, configure_logs
from common.settings import SettingsError, quiet_grpc
from service.settings import files_in, load, process_environment
from service.start_errors import CannotStart
from service.watched_files import WatchedFiles

EXIT_USAGE = 2


def main() -> int:
    """Runs the service and gives the exit code: 0 after a clean stop, 2 when it cannot start."""
    quiet_grpc()
    configure_logs(LogLevel.INFO)  # until the settings say otherwise
    environment = process_environment()
    files = WatchedFiles(files_in(environment))  # before they are read, so that no change is missed
    try:
        settings = load(environment)
    except SettingsError as error:
        return _refuse(error)
    configure_logs(settings.log_level)

    # Only now, as it takes a second: a mistake in the settings is told at once.
    import uvloop  # noqa: PLC0415

    from service.serving import serve  # noqa: PLC0415

    try:
        uvloop.run(serve(settings, environment, files))
    except SettingsError as error:
        return _refuse(error)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return 0


def _refuse(error: SettingsError) -> int:
    print("The settings cannot be used:", *error.problems, sep="\n  - ", file=sys.stderr)
    return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
