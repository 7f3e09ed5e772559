# SPDX-License-Identifier: BSD-3-Clause
"""both_ends.py ADDRESS: one process is server and client of itself: a thread a connection, then one asyncio loop, then
UDP. Says how much it moved; under the preload also checks that an engine served it (CULVERT_ENGINE is set, and the
kernel knows no such port)."""
import asyncio
import hashlib
import os
import random
import socket
import sys
import threading

address = sys.argv[1]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
# As on Linux, whoever connects to any of 127.0.0.0/8 does so from 127.0.0.1.
source = "127.0.0.1" if address.startswith("127.") else address
data = random.Random(3).randbytes(8_000_000)


def kernel_ports():
    ports = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/net/{name}") as table:
            ports.update(int(line.split()[1].split(":")[1], 16) for line in list(table)[1:])
    return ports


def expect_engine(port):
    if "libculvert" in os.environ.get("LD_PRELOAD", "") and port in kernel_ports():
        sys.exit(f"port {port} of {address} is the kernel's")


def take(link, n):
    pieces = []
    while n > 0:
        piece = link.recv(min(n, 100_000))
        if not piece:
            raise EOFError(f"{n} bytes short")
        pieces.append(piece)
        n -= len(piece)
    return b"".join(pieces)


def threads():
    server = socket.create_server((address, 0), family=family)
    port = server.getsockname()[1]
    expect_engine(port)

    def serve():
        for _ in range(4):
            link, peer = server.accept()
            with link:
                assert peer[0] == source, peer
                got = take(link, len(data))
                link.sendall(hashlib.sha256(got).digest())
                assert link.recv(1) == b""

    server_thread = threading.Thread(target=serve, daemon=True)
    server_thread.start()
    for _ in range(4):
        with socket.create_connection((address, port), 20) as link:
            link.sendall(data)
            assert take(link, 32) == hashlib.sha256(data).digest()
    server_thread.join(20)
    assert not server_thread.is_alive()
    server.close()
    try:
        socket.create_connection((address, port), 5)
    except ConnectionRefusedError:
        return
    sys.exit("the closed listener still accepts")


async def one_loop():
    async def echo(reader, writer):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, address, 0)
    port = server.sockets[0].getsockname()[1]

    async def client(n):
        reader, writer = await asyncio.open_connection(address, port)

        async def send():
            writer.write(data[:n])
            await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        assert await reader.read(-1) == data[:n]
        await sending
        writer.close()
        await writer.wait_closed()

    await asyncio.wait_for(asyncio.gather(*(client(1000 + 10007 * i) for i in range(50))), 30)
    server.close()
    await server.wait_closed()


def datagrams():
    with socket.socket(family, socket.SOCK_DGRAM) as a, socket.socket(family, socket.SOCK_DGRAM) as b:
        a.bind((address, 0))
        b.bind((address, 0))
        expect_engine(a.getsockname()[1])
        a.settimeout(10)
        b.settimeout(10)
        for n in (0, 1, 100, 1400):
            assert a.sendto(data[:n], b.getsockname()) == n
            got, sender = b.recvfrom(70000)
            assert got == data[:n] and sender[:2] == a.getsockname()[:2], (len(got), sender)


threads()
asyncio.run(one_loop())
datagrams()
print(f"both ends at {address}")
