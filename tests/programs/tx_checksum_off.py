# SPDX-License-Identifier: BSD-3-Clause
"""tx_checksum_off.py INTERFACE: makes the kernel fill in checksums itself, as `ethtool -K INTERFACE tx off`. Over a veth it
leaves that to a NIC that is not there, and whoever takes the frames off the other end raw sees wrong sums."""
import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
request = struct.pack("16sP", sys.argv[1].encode(), value.buffer_info()[0])
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCETHTOOL, request)
