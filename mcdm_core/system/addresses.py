"""Checks addresses of other processes."""

import socket

WAIT = 5.0  # seconds


def check_listening(address: str, what: str) -> None:
    """Refuse an address at which nothing listens, within seconds; libraries may keep trying for minutes.

    Args:
        address: HOST:PORT.
        what: What should listen there, for the message.

    Raises:
        ValueError: It is no such address, or nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"Expected HOST:PORT as the address of {what} and got {address!r}; correct it.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ValueError(
            f"Expected {what} at {address} and nobody answers there ({error}); start it, or correct the address."
        ) from error
