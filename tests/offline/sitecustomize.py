"""Forbid the network beyond this machine to a Python process.

conftest runs this for the tests, and PYTHONPATH for every process that they start.
"""

import socket

LOOPBACK = ("127.0.0.1", "::1")


class NetworkUsed(RuntimeError):
    """A connection to a network was tried."""


def _local_only(connect):
    def guarded(self, address):
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in LOOPBACK:
            raise NetworkUsed(
                f"tests open no socket beyond this machine; got {address!r}; put the data into the"
                " test or the repository"
            )
        return connect(self, address)

    return guarded


def _no_names(look_up):
    def guarded(host, *args, **kwargs):
        if host not in LOOPBACK:
            raise NetworkUsed(
                f"tests look up no host; got {host!r}; put the data into the test or the repository"
            )
        return look_up(host, *args, **kwargs)

    return guarded


socket.socket.connect = _local_only(socket.socket.connect)
socket.socket.connect_ex = _local_only(socket.socket.connect_ex)
socket.getaddrinfo = _no_names(socket.getaddrinfo)
