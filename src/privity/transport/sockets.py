"""TCP connections whose peer is gone without a word: the kernel is asked to notice.

A laptop that lost its network, a machine without power and a firewall that forgot a connection send nothing. Without
this an idle connection to them stays open for ever, and one with data under way for a quarter of an hour.
"""

import socket
import sys

IDLE_SECONDS = 30
"""Without a byte, after which the kernel asks the peer whether it is there; many firewalls forget after 60."""

PROBE_SECONDS = 10
"""Between two such questions."""

PROBES = 3
"""Questions without an answer until the connection counts as lost."""

UNACKNOWLEDGED_SECONDS = IDLE_SECONDS + PROBES * PROBE_SECONDS
"""For which sent data may stay without an answer of the peer's kernel, or its receive buffer full: as long as an idle
connection takes to be given up. Linux has this, macOS gives up by itself after some minutes."""


def notice_loss(connection: socket.socket) -> None:
    """Have the kernel end a TCP connection whose peer is gone; on a listening socket: those that it accepts.

    Does nothing to sockets of other families.
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "darwin":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, IDLE_SECONDS)
    else:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)
