#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""router.py INTERFACE PREFIX: one router advertisement (RFC4861:4.2) with PREFIX/64, on the link and for addresses, from the
interface's link-local address to all nodes."""
import ipaddress
import socket
import struct
import sys

interface, prefix = sys.argv[1], ipaddress.IPv6Address(sys.argv[2])
index = socket.if_nametoindex(interface)
mac = bytes.fromhex(open(f"/sys/class/net/{interface}/address").read().strip().replace(":", ""))
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
words = [line.split() for line in open("/proc/net/if_inet6")]
own = next(w[0] for w in words if w[5] == interface and w[0].startswith("fe80"))
s.bind((str(ipaddress.IPv6Address(bytes.fromhex(own))), 0, 0, index))
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 600, 0, 0)
message += struct.pack("!BB6s", 1, 1, mac)
message += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 1800, 0, prefix.packed)
s.sendto(message, ("ff02::1", 0, 0, index))
