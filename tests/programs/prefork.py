# SPDX-License-Identifier: BSD-3-Clause
"""prefork.py serve ADDRESS PORT SECONDS | ask ADDRESS PORT SECONDS: a server of four processes that share a listener, one of which
is killed every few milliseconds for so long and replaced, until SIGTERM; clients that ask it meanwhile. No connection may
stay that nobody has: its client would wait for ever."""
import os
import random
import signal
import socket
import sys
import threading
import time

role, address, port, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), time.monotonic() + float(sys.argv[4])


def worker(listener):
    while True:
        link, _ = listener.accept()
        link.sendall(link.recv(100) * 50)
        link.close()


def serve():
    listener = socket.create_server((address, port), backlog=512)
    workers, killed = [], 0
    signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGKILL) for pid in workers] + [os._exit(0)])
    while True:
        while len(workers) < 4:
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                worker(listener)
            workers.append(pid)
        time.sleep(random.random() * 0.02)
        if time.monotonic() < end:
            pid = workers.pop(random.randrange(4))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            killed += 1
            print(killed, flush=True)


counts = {"answers": 0, "cut": 0, "hung": 0}


def ask():
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, port), 5) as link:
                link.settimeout(5)
                link.sendall(bytes(100))
                got = 0
                while data := link.recv(65536):
                    got += len(data)
            counts["answers" if got == 5000 else "cut"] += 1
        except TimeoutError:
            counts["hung"] += 1
        except ConnectionError:
            counts["cut"] += 1


if role == "serve":
    serve()
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*(f"{n} {what}" for what, n in counts.items()), sep=", ")
sys.exit(counts["hung"] > 0 or counts["answers"] < 100)
