"""Every test runs on one torch thread, offline, and without a socket to anywhere."""

import os
import socket

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", MPLBACKEND="agg")

import torch  # noqa: E402  (the thread settings above are read on import)

torch.set_num_threads(1)


class NetworkUsed(RuntimeError):
    """A test tried to reach a network."""


_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def _local_only(connect):
    def guarded(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            raise NetworkUsed(f"tests open no socket, asked for {address!r}; ship the data, or make it in the test")
        return connect(self, address)

    return guarded


def _no_names(host, *_args, **_kwargs):
    raise NetworkUsed(f"tests look up no host, asked for {host!r}; ship the data, or make it in the test")


socket.socket.connect = _local_only(_connect)
socket.socket.connect_ex = _local_only(_connect_ex)
socket.getaddrinfo = _no_names
