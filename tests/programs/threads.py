# SPDX-License-Identifier: BSD-3-Clause
"""threads.py ADDRESS N WORKING: N threads that live at the same time, each with a connection of its own to ADDRESS (our own
listener), send and read 1,000 bytes. WORKING of them must succeed, the others get ENOBUFS, also without blocking; connections
that these close end while all still live; afterwards new threads work again."""
import errno
import socket
import sys
import threading

address, n, working = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
listener = socket.create_server((address, 0), backlog=1024)


closed = []


def pairs(count):
    made = []
    for _ in range(count):
        client = socket.create_connection(listener.getsockname())
        made.append((client, listener.accept()[0]))
    return made


def exchange(pair, results, together):
    try:
        pair[0].sendall(b"x" * 1000)
        pair[1].settimeout(20)
        got = 0
        while got < 1000:
            got += len(pair[1].recv(1000))
        results.append(0)
    except OSError as error:
        results.append(error.errno)
        pair[0].setblocking(False)
        try:
            pair[0].send(b"x")
        except OSError as again:
            results.append(again.errno)
        pair[0].close()
        closed.append(pair[1])
        for kind, call in (  # none of it is the kernel's for want of a lane
                (socket.SOCK_STREAM, lambda s: s.bind((address, 0))), (socket.SOCK_STREAM, lambda s: s.connect((address, 9))),
                (socket.SOCK_DGRAM, lambda s: s.connect((address, 9))), (socket.SOCK_DGRAM, lambda s: s.sendto(b"x", (address, 9)))):
            with socket.socket(type=kind) as more:
                try:
                    call(more)
                    results.append(None)
                except OSError as error:
                    results.append(error.errno)
    together.wait()
    together.wait()


def round_of(count):
    results, together = [], threading.Barrier(count + 1)
    threads = [threading.Thread(target=exchange, args=(pair, results, together)) for pair in pairs(count)]
    for thread in threads:
        thread.start()
    together.wait()
    for end in closed:
        end.settimeout(20)
        assert end.recv(1) == b""
    closed.clear()
    together.wait()
    for thread in threads:
        thread.join()
    return results


results = round_of(n)
assert results.count(0) == working, (results.count(0), set(results))
assert set(results) <= {0, errno.ENOBUFS}, set(results)
assert round_of(working).count(0) == working
