#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""fast_open.py server ADDRESS PORT | client ADDRESS PORT COUNT: a server that takes data in the SYN and answers in capitals, and a client whose
connects are sends (MSG_FASTOPEN): the first asks for a cookie, the others bring it."""
import socket
import sys

TCP_FASTOPEN = 23

role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if role == "server":
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port))
    s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    s.listen(16)
    while True:
        c, _ = s.accept()
        text = c.recv(100)
        c.sendall(text.upper() * 1000)
        c.close()
for i in range(int(sys.argv[4])):
    text = f"question {i}".encode()
    c = socket.socket()
    assert c.sendto(text, socket.MSG_FASTOPEN, (address, port)) == len(text)
    c.settimeout(10)
    got = b""
    while more := c.recv(65536):
        got += more
    c.close()
    if got != text.upper() * 1000:
        sys.exit(f"{len(got)} bytes came, and not the right ones")
