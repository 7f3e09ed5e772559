# SPDX-License-Identifier: BSD-3-Clause
"""redis_keys.py HOST PORT COUNT: writes COUNT keys with values of different lengths over 4 connections, pipelined, then
reads all of them back over 4 other connections and compares every byte. Speaks RESP itself."""
import hashlib
import socket
import sys
import threading

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
WIDTH, BATCH = 4, 500
wrong = []


def value(i):
    return (hashlib.sha256(b"%d" % i).hexdigest() * (1 + i % 7))[: 1 + i % 400].encode()


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def batches(first):
    keys = list(range(first, count, WIDTH))
    return [keys[at : at + BATCH] for at in range(0, len(keys), BATCH)]


def write(first):
    with socket.create_connection((host, port), 20) as s, s.makefile("rb") as answers:
        for batch in batches(first):
            s.sendall(b"".join(command(b"SET", b"key:%d" % i, value(i)) for i in batch))
            for i in batch:
                line = answers.readline()
                if line != b"+OK\r\n":
                    raise ValueError(f"SET key:{i} -> {line!r}")


def read(first):
    with socket.create_connection((host, port), 20) as s, s.makefile("rb") as answers:
        for batch in batches(first):
            s.sendall(b"".join(command(b"GET", b"key:%d" % i) for i in batch))
            for i in batch:
                line = answers.readline()
                if line != b"$%d\r\n" % len(value(i)):
                    raise ValueError(f"GET key:{i} -> {line!r}, wanted {len(value(i))} bytes")
                if answers.read(len(value(i)) + 2) != value(i) + b"\r\n":
                    raise ValueError(f"GET key:{i}: other bytes")


def run(work):
    def guarded(first):
        try:
            work(first)
        except Exception as error:  # whatever went wrong is the test's result
            wrong.append(f"{work.__name__}: {type(error).__name__} {error}")

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(WIDTH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit("; ".join(wrong))


run(write)
run(read)
print(f"{count} keys written and read back")
