"""The network is forbidden to tests and to the processes that they start."""

import socket
import subprocess
import sys

import pytest

AWAY = ("192.0.2.1", 9)  # reserved for documentation
CONNECT = f"import socket; socket.socket().connect({AWAY})"


def test_no_socket_in_this_process():
    with pytest.raises(RuntimeError, match="look up no host"):
        socket.create_connection(("huggingface.co", 443), timeout=1)
    with socket.socket() as connection, pytest.raises(RuntimeError, match="open no socket"):
        connection.connect(AWAY)


def test_no_socket_in_a_process_that_a_test_starts():
    run = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True)
    assert run.returncode == 1 and "NetworkUsed" in run.stderr


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
