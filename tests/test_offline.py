"""The ban on the network holds here and in the processes that tests start."""

import socket
import subprocess
import sys

import pytest

TRY = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"


def test_no_socket_in_this_process():
    with pytest.raises(RuntimeError, match="look up no host"):
        socket.create_connection(("localhost", 9), timeout=1)
    with socket.socket() as one, pytest.raises(RuntimeError, match="open no socket"):
        one.connect(("127.0.0.1", 9))


def test_no_socket_in_a_process_that_a_test_starts():
    found = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True)
    assert found.returncode == 1 and "NetworkUsed" in found.stderr
