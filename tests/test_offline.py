"""The network is forbidden to tests and to the processes that they start."""

import socket
import subprocess
import sys

import pytest

CONNECT = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"


def test_no_socket_in_this_process():
    with pytest.raises(RuntimeError, match="look up no host"):
        socket.create_connection(("localhost", 9), timeout=1)
    with socket.socket() as connection, pytest.raises(RuntimeError, match="open no socket"):
        connection.connect(("127.0.0.1", 9))


def test_no_socket_in_a_process_that_a_test_starts():
    run = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True)
    assert run.returncode == 1 and "NetworkUsed" in run.stderr
