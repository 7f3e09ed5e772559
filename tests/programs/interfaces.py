#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""interfaces.py: prints the list of interfaces, a line for each address: `NAME ADDRESS/PREFIX` as getifaddrs(3) tells it, then
`NAME ADDRESS NETMASK MTU` as netdevice(7) does, at last `NAME NUMBER` of if_nameindex(3)."""
import array
import ctypes
import fcntl
import socket
import struct

SIOCGIFCONF, SIOCGIFNETMASK, SIOCGIFMTU = 0x8912, 0x891B, 0x8921


class Ifaddrs(ctypes.Structure):
    pass


Ifaddrs._fields_ = [("next", ctypes.POINTER(Ifaddrs)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint)] + [
    (field, ctypes.c_void_p) for field in ("addr", "netmask", "broadcast", "data")
]


def sockaddr(at):
    """Its family and the address."""
    family = ctypes.c_uint16.from_address(at).value if at else 0
    where = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}.get(family)
    return family, ctypes.string_at(at + where[0], where[1]) if where else b""


libc = ctypes.CDLL(None)
first = ctypes.POINTER(Ifaddrs)()
assert libc.getifaddrs(ctypes.byref(first)) == 0
one = first
while one:
    family, address = sockaddr(one.contents.addr)
    if address:
        bits = sum(byte.bit_count() for byte in sockaddr(one.contents.netmask)[1])
        print(f"{one.contents.name.decode()} {socket.inet_ntop(family, address)}/{bits}")
    one = one.contents.next
libc.freeifaddrs(first)

asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
room = array.array("B", bytes(4000))
told = fcntl.ioctl(asker, SIOCGIFCONF, struct.pack("iP", len(room), room.buffer_info()[0]))
for at in range(0, struct.unpack("iP", told)[0], 40):
    request = bytes(room[at : at + 40])
    netmask = fcntl.ioctl(asker, SIOCGIFNETMASK, request)[20:24]
    mtu = struct.unpack_from("i", fcntl.ioctl(asker, SIOCGIFMTU, request), 16)[0]
    print(request[:16].rstrip(b"\0").decode(), socket.inet_ntoa(request[20:24]), socket.inet_ntoa(netmask), mtu)
for number, name in socket.if_nameindex():
    print(name, number)
