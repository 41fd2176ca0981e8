"""Importing this makes names under `localhost` loopback (RFC 6761); the C library of Debian leaves that to its add-ons."""

import socket

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *arguments, **keywords):
    if isinstance(host, str) and host.endswith(".localhost"):
        host = "127.0.0.1"
    return _getaddrinfo(host, *arguments, **keywords)


socket.getaddrinfo = getaddrinfo
