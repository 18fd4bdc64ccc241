"""Forbid the network to a Python process.

conftest runs this for the tests, and PYTHONPATH for every process that they start.
"""

import socket


class NetworkUsed(RuntimeError):
    """A connection to a network was tried."""


def _local_only(connect):
    def guarded(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            raise NetworkUsed(
                f"tests open no socket; got {address!r}; put the data into the test or the "
                "repository"
            )
        return connect(self, address)

    return guarded


def _no_names(host, *_args, **_kwargs):
    raise NetworkUsed(
        f"tests look up no host; got {host!r}; put the data into the test or the repository"
    )


socket.socket.connect = _local_only(socket.socket.connect)
socket.socket.connect_ex = _local_only(socket.socket.connect_ex)
socket.getaddrinfo = _no_names
