# SPDX-License-Identifier: BSD-3-Clause
"""peer.py HOST PORT idle|flood|unread FILE: connects, says its mode in one line, and writes to FILE how the connection
ended: FIN or RST. idle only reads; flood also sends without end; unread sends 100,000 bytes that nobody reads."""
import socket
import sys
import threading

host, port, mode, result = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
link = socket.create_connection((host, port), 10)
link.settimeout(60)
link.sendall(mode.encode() + b"\n")


def send():
    try:
        if mode == "unread":
            link.sendall(bytes(100_000))
        while mode == "flood":
            link.sendall(bytes(65536))
    except (ConnectionResetError, BrokenPipeError):
        reset.set()  # an error is told once: to the sender or to the reader


reset = threading.Event()
sender = threading.Thread(target=send, daemon=True)
sender.start()
try:
    while link.recv(65536):
        pass
    sender.join(5)
    end = "RST" if reset.is_set() else "FIN"
except (ConnectionResetError, BrokenPipeError):
    end = "RST"
with open(result, "w") as out:
    print(end, mode, file=out)
