# SPDX-License-Identifier: BSD-3-Clause
"""inline_life.py ADDRESS PEER PORT CASE: what an engine inside a program does to the program, looked at from within.

threads      nothing starts before the first internet socket that is bound; then the engine's threads do
descriptors  the program closes every number that it can; the engine lives on, and its descriptors are not to be seen
signals      the program's dispositions are as they were, and a handler runs on one of its own threads
sends        sends 20,000,000 bytes to PEER:PORT, closes nothing and ends: all of it must arrive
fork         a child of fork, and its child, go on with its parent's connection and opens one of its own
asks         a child asks the engine for something while its parent, whose engine it is, waits and computes by turns
given_up     after chroot and without an environment: threads, an epoll instance and a child go on
second       a second program of the same configuration is served by the first one's engine
"""
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time

address, peer, port, case = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def engine_threads():
    names = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as comm:
            names.append(comm.read().strip())
    return names.count("culvert-engine")


def served():
    return socket.create_server((address, 0))


def talk(listener):
    """A connection of the engine with itself."""
    one = socket.create_connection(listener.getsockname(), 5)
    two, _ = listener.accept()
    one.sendall(b"there")
    got = two.recv(100)
    two.sendall(b"and back")
    assert got == b"there" and one.recv(100) == b"and back"
    return one, two


def threads():
    left, right = socket.socketpair()
    idle = socket.socket()
    idle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    assert engine_threads() == 0, "the engine runs already"
    begin = time.monotonic()
    server = served()
    took = time.monotonic() - begin
    assert engine_threads() == 1, "no engine"
    talk(server)
    print(f"{took * 1000:.0f} ms to start")


def descriptors():
    server = served()
    before = set(os.listdir("/proc/self/fd"))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(server.fileno() + 1, min(limit, 1 << 20))
    for number in range(server.fileno() + 1, 2000):
        try:
            os.close(number)
        except OSError:
            pass
    assert before & set(os.listdir("/proc/self/fd")), "nothing left"
    for _ in range(20):
        for end in talk(server):
            end.close()


def signals():
    runs = []
    signal.signal(signal.SIGUSR1, lambda *_: runs.append(threading.get_native_id()))
    before = [signal.getsignal(s) for s in range(1, 65) if s not in (32, 33)]
    server = served()
    talk(server)
    assert before == [signal.getsignal(s) for s in range(1, 65) if s not in (32, 33)]
    with open("/proc/self/status") as status:
        caught = [line for line in status if line.startswith("SigCgt")][0]
    assert int(caught.split()[1], 16) >> 33 == 0, f"a real-time signal has a handler: {caught}"
    for _ in range(100):
        os.kill(os.getpid(), signal.SIGUSR1)
        talk(server)
    assert len(runs) == 100 and set(runs) == {threading.get_native_id()}, f"{len(runs)} on {set(runs)}"


def sends():
    link = socket.create_connection((peer, port), 10)
    link.settimeout(30)
    link.sendall(bytes(range(250)) * 80_000)
    os._exit(0) if os.environ.get("ABRUPT") else sys.exit(0)


def fork():
    server = served()
    one, two = talk(server)
    pid = os.fork()
    if pid == 0:
        grandchild = os.fork()
        if grandchild == 0:
            one.sendall(b"from the child")
            mine, _ = talk(server)
            mine.close()
            os._exit(0)
        os._exit(os.waitpid(grandchild, 0)[1] != 0)
    assert two.recv(100) == b"from the child"
    # The parent runs its engine while the child waits for it.
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        time.sleep(0.001)
    assert ended[1] == 0, "the child failed"
    one.sendall(b"and from the parent")
    assert two.recv(100) == b"and from the parent"


def asks():
    one, two = talk(served())
    end = time.monotonic() + 5
    child = os.fork()
    if child == 0:
        times = []
        while time.monotonic() < end:
            begin = time.monotonic()
            two.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 200)
            times.append(time.monotonic() - begin)
            time.sleep(0.007)
        late = [took for took in times if took > 0.1]
        print(f"{len(times)} answers, {len(late)} late, the last one after {max(times) * 1000:.0f} ms", flush=True)
        os._exit(0 if len(times) > 200 and len(late) < 3 else 1)
    poll = select.poll()
    poll.register(one, select.POLLIN)
    while time.monotonic() < end:
        time.sleep(0.012)
        poll.poll(400)
    assert os.waitpid(child, 0)[1] == 0, "late answers"


def given_up():
    server = served()
    one, two = talk(server)
    os.chroot(os.path.dirname(sys.argv[0]))
    os.environ.clear()
    with select.epoll() as waits:
        waits.register(two, select.EPOLLIN)
        other = threading.Thread(target=lambda: one.sendall(b"from a thread"))
        other.start()
        assert waits.poll(5) == [(two.fileno(), select.EPOLLIN)]
        other.join()
    assert two.recv(100) == b"from a thread"
    pid = os.fork()
    if pid == 0:
        one.sendall(b"from the child")
        os._exit(0)
    two.settimeout(10)
    assert two.recv(100) == b"from the child"
    assert os.waitpid(pid, 0)[1] == 0
    talk(server)


def second():
    if os.environ.get("SECOND"):
        assert engine_threads() == 0
        one = socket.create_connection((address, port), 5)
        one.sendall(b"second")
        assert engine_threads() == 0, "a second engine of one name"
        sys.exit(0)
    server = socket.create_server((address, port))
    child = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "SECOND": "1"})
    two, _ = server.accept()
    assert two.recv(100) == b"second"
    assert child.wait(10) == 0


{"threads": threads, "descriptors": descriptors, "signals": signals, "sends": sends, "fork": fork, "asks": asks, "given_up": given_up, "second": second}[case]()
