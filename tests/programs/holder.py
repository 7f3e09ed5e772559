# SPDX-License-Identifier: BSD-3-Clause
"""holder.py ADDRESS PORT [fork]: accepts connections and holds them, reading from each only its first line: what else
comes stays unread. With `fork` a child is made once the first connection is there; its process id is printed."""
import os
import signal
import socket
import sys

signal.signal(signal.SIGTERM, signal.SIG_DFL)
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
held = []
while True:
    link, _ = server.accept()
    while (byte := link.recv(1)) != b"\n" and byte:
        pass
    held.append(link)
    if "fork" in sys.argv:
        if (child := os.fork()) == 0:
            server.close()
            signal.pause()
        print(child, flush=True)
