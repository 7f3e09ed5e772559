#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""strange_engine.py SOCKET refuses|short|long|silent|ends: an engine of another version, as far as a program's first message goes
(stack/api/control.h): it refuses in words, its reply is shorter or longer than ours, or it closes without one, or ends so."""
import os
import socket
import struct
import sys

EPROTO = 28  # stack/api/error.def
path, how = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
    listener.bind(path)
    listener.listen()
    while True:
        s, _ = listener.accept()
        with s:
            op = s.recv(65536)[:4]
            if len(op) < 4:
                continue  # only looked whether somebody answers
            reply = op + struct.pack("=iIIQ128s", -EPROTO, 0, 0, 0, b"this is not for you")
            if how == "ends":
                os.unlink(path)
                sys.exit()
            if how != "silent":
                s.send({"refuses": reply, "short": reply[:8], "long": reply + bytes(64)}[how])
