#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tagged.py INTERFACE VLAN OWN PEER: a host of a VLAN that is written by hand (not every kernel has them): asks who has the
IPv4 address PEER, as OWN, in a tagged frame, and pings it. Says `answered`; exit 1 when nothing with that tag comes."""
import socket
import struct
import sys

interface, vlan, own, peer = sys.argv[1], int(sys.argv[2]), socket.inet_aton(sys.argv[3]), socket.inet_aton(sys.argv[4])
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((interface, 3))
s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
s.settimeout(2)
mac = s.getsockname()[4]


def frame(to, ethertype, payload):
    return to + mac + struct.pack("!HHH", 0x8100, vlan, ethertype) + payload


def tag_of(control, data):
    if data[12:14] == b"\x81\x00":
        return struct.unpack("!H", data[14:16])[0], data[:12] + data[16:]
    for level, kind, value in control:
        status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", value[:20])
        if level == SOL_PACKET and kind == PACKET_AUXDATA and status & VLAN_VALID:
            return tci, data
    return None, data


def answer(wanted):
    while True:
        data, control, _, address = s.recvmsg(2000, 200)
        tag, data = tag_of(control, data)
        if tag == vlan and address[2] != socket.PACKET_OUTGOING and wanted(data):
            return data


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


try:
    s.send(frame(b"\xff" * 6, 0x0806, struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, own, bytes(6), peer)))
    reply = answer(lambda d: d[12:14] == b"\x08\x06" and d[20:22] == b"\0\2" and d[28:32] == peer)
    there = reply[22:28]
    echo = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + bytes(range(56))
    echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(echo), 1, 0, 64, 1, 0, own, peer)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    s.send(frame(there, 0x0800, header + echo))
    answer(lambda d: d[12:14] == b"\x08\x00" and d[26:30] == peer and d[34] == 0 and d[42:98] == bytes(range(56)))
except TimeoutError:
    sys.exit(1)
print("answered")
