#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""udp_many.py serve ADDRESS PORT SOCKETS: echoes on so many sockets that share the port by SO_REUSEPORT, with which of them
answered in front. udp_many.py ask ADDRESS PORT CLIENTS ROUNDS: so many sockets send in turn; each must hear the same one
every time; prints how many of the server's sockets answered, and the answers a second."""
import select
import socket
import sys
import time

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def serve(sockets):
    poll, by_fd = select.epoll(), {}
    for i in range(sockets):
        s = udp()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((address, port))
        by_fd[s.fileno()] = (s, b"%d " % i)
        poll.register(s, select.EPOLLIN)
    print("serving", flush=True)
    while True:
        for fd, _ in poll.poll():
            s, name = by_fd[fd]
            data, who = s.recvfrom(2000)
            s.sendto(name + data, who)


def ask(clients, rounds):
    all_of = [udp() for _ in range(clients)]
    answered_by = [None] * clients
    for s in all_of:
        s.connect((address, port))
        s.settimeout(3)
    begin = time.monotonic()
    for r in range(rounds):
        for s in all_of:
            s.send(b"round %d" % r)
        for i, s in enumerate(all_of):
            name, text = s.recv(2000).split(b" ", 1)
            assert text == b"round %d" % r, text
            assert answered_by[i] in (None, name), f"client {i} was answered by {answered_by[i]} and by {name}"
            answered_by[i] = name
    took = time.monotonic() - begin
    print(f"{len(set(answered_by))} sockets, {clients * rounds / took:.0f} answers/s")


if mode == "serve":
    serve(int(sys.argv[4]))
else:
    ask(int(sys.argv[4]), int(sys.argv[5]))
