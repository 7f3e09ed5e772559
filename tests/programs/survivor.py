# SPDX-License-Identifier: BSD-3-Clause
"""survivor.py ADDRESS PORT PEER PEERPORT: a program whose engine is killed. Every kind of wait must end within a second
with ECONNRESET or ENETDOWN, and a new connection must work on the kernel. Prints `ready`, then what happened."""
import errno
import select
import socket
import sys
import threading
import time

address, port, peer, peer_port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
ALLOWED = (errno.ECONNRESET, errno.ENETDOWN)
ended = {}
gone = threading.Event()


def waits(name):
    def decorate(work):
        def run():
            try:
                work()
                ended[name] = (time.monotonic(), "returned")
            except OSError as error:
                ended[name] = (time.monotonic(), error.errno)
            gone.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        threads.append(thread)

    return decorate


threads = []
server = socket.create_server((address, port))
link, polled, sender, waited = (socket.create_connection((peer, peer_port)) for _ in range(4))


@waits("accept")
def _():
    server.accept()


@waits("recv")
def _():
    if link.recv(1) == b"":
        raise OSError(0, "end of stream instead of an error")


@waits("epoll")
def _():
    poll = select.epoll()
    poll.register(polled, select.EPOLLIN)
    poll.poll(30)
    polled.setblocking(False)
    if polled.recv(1) == b"":
        raise OSError(0, "end of stream instead of an error")


@waits("poll")
def _():
    poll = select.poll()
    poll.register(waited, select.POLLIN)
    if not poll.poll(30_000):
        raise OSError(0, "poll timed out")
    waited.recv(1)


@waits("send")
def _():
    while True:
        sender.sendall(bytes(100_000))


print("ready", flush=True)
gone.wait(60)
begin = time.monotonic()
wrong = []
for thread in threads:
    thread.join(max(0.0, begin + 1 - time.monotonic()))
    if thread.is_alive():
        wrong.append(f"{thread.name} still waits")
    else:
        how = ended[thread.name][1]
        print(thread.name, errno.errorcode.get(how, how), flush=True)
        if how not in ALLOWED and not (thread.name == "send" and how == errno.EPIPE):
            wrong.append(f"{thread.name}: {how}")
for i in range(3):
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as kernel:
        with socket.create_connection(kernel.getsockname(), 5) as new:
            new.sendall(b"x")
            if kernel.accept()[0].recv(1) != b"x":
                wrong.append("the kernel's connection does not work")
    # The peer's own address: the engine used to route it, now it is the kernel's.
    with socket.create_connection((peer, peer_port), 5) as new:
        new.sendall(b"x")
    if time.monotonic() - begin > 1:
        wrong.append("new sockets take more than a second")
link.close()
if wrong:
    sys.exit("; ".join(wrong))
print("new sockets work on the kernel")
