#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""groups.py receive|send GROUP INTERFACE PORT: joins GROUP, says `joined`, waits for a datagram and prints it; or sends one.
INTERFACE: for IPv4 an address, for IPv6 the name of an interface."""
import socket
import struct
import sys

what, group, interface, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
six = ":" in group
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
index = socket.if_nametoindex(interface) if six else 0
if what == "send":
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        s.sendto(b"to all of you", (group, port, 0, index))
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, b"\x04")
        s.sendto(b"to all of you", (group, port))
    sys.exit()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if six:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("@i", index))
    s.bind(("::", port))
else:
    s.bind(("", port))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(interface))
    try:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(interface))
    except OSError as e:
        print("again:", e.strerror, flush=True)
print("joined", flush=True)
s.settimeout(10)
print(s.recv(100).decode(), flush=True)
