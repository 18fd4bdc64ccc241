"""Forbids the network to a Python process: run by conftest for the tests, and by every process that they start (see PYTHONPATH there)."""

import socket


class NetworkUsed(RuntimeError):
    """Something tried to reach a network."""


def _local_only(connect):
    def guarded(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            raise NetworkUsed(f"tests open no socket, asked for {address!r}; ship the data, or make it in the test")
        return connect(self, address)

    return guarded


def _no_names(host, *_args, **_kwargs):
    raise NetworkUsed(f"tests look up no host, asked for {host!r}; ship the data, or make it in the test")


socket.socket.connect = _local_only(socket.socket.connect)
socket.socket.connect_ex = _local_only(socket.socket.connect_ex)
socket.getaddrinfo = _no_names
