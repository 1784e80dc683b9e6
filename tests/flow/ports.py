"""A port for a program that is about to start: free, and none that the system gives away by itself meanwhile.

What is asked for as port 0, and each end of an outgoing connection, comes out of a range of the system's own. A port
that was found free there can belong to another test before the program has opened it, and then a client talks to a
stranger.
"""

import secrets
import socket

__all__ = ["free_port"]

# Below the ranges of Linux (32,768) and of the other systems (49,152).
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
