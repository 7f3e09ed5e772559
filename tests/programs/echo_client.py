# SPDX-License-Identifier: BSD-3-Clause
"""echo_client.py HOST PORT BYTES CONNECTIONS: sends pseudo-random bytes on each connection while it reads them back,
half-closes, and expects the end of the stream after exactly what it sent."""
import random
import socket
import sys
import threading

host, port, total, width = sys.argv[1], *map(int, sys.argv[2:5])
wrong = []


def send(link, data):
    link.sendall(data)
    link.shutdown(socket.SHUT_WR)


def run(seed):
    data = random.Random(seed).randbytes(total)
    at = 0
    try:
        with socket.create_connection((host, port), 20) as link:
            sender = threading.Thread(target=send, args=(link, data))
            sender.start()
            while piece := link.recv(100_000):
                if data[at : at + len(piece)] != piece:
                    raise ValueError(f"other bytes at {at}")
                at += len(piece)
            sender.join()
        if at != total:
            raise ValueError(f"{at} of {total} bytes came back")
    except Exception as error:  # whatever went wrong is the test's result
        wrong.append(f"{type(error).__name__} {error}")


threads = [threading.Thread(target=run, args=(seed,)) for seed in range(width)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if wrong:
    sys.exit("; ".join(wrong))
print(f"{width} times {total} bytes")
