# SPDX-License-Identifier: BSD-3-Clause
"""memcached_keys.py HOST PORT COUNT CONNECTIONS: COUNT items written and read back and compared, over CONNECTIONS
connections that are all open at once. Values are up to 100 KiB."""
import random
import socket
import sys

host, port, count, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
pool = random.Random(7).randbytes(1 << 17)


def value(i):
    length = 1 + (i * 131) % 300 if i % 500 else 100 * 1024
    at = i % (len(pool) - length)
    return pool[at : at + length]


def wanted(got, want, what):
    if got != want:
        sys.exit(f"{what}: {got[:80]!r}, wanted {want[:80]!r}")


links = [socket.create_connection((host, port), 20) for _ in range(width)]
files = [link.makefile("rb") for link in links]
for i in range(count):
    data = value(i)
    links[i % width].sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (i, len(data), data))
    if i % width == width - 1 or i == count - 1:
        for j in range(i - i % width, i + 1):
            wanted(files[j % width].readline(), b"STORED\r\n", f"set k{j}")
for i in range(count):
    links[(i * 7) % width].sendall(b"get k%d\r\n" % i)
    data = value(i)
    answers = files[(i * 7) % width]
    wanted(answers.readline(), b"VALUE k%d 0 %d\r\n" % (i, len(data)), f"get k{i}")
    wanted(answers.read(len(data) + 7), data + b"\r\nEND\r\n", f"get k{i}")
print(f"{count} items over {width} connections")
