#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""control.py SOCKET VERSION CASE SEED: a peer of the control socket (stack/api/control.h) that means no good.

Prints what it did; ends with 0 when the engine answered as it must, else with a line that says what it did not do.
"""
import array
import fcntl
import json
import mmap
import os
import random
import socket
import struct
import sys
import time

REQUEST = struct.Struct("=IIIiI1024s")
REPLY = struct.Struct("=IiIIQ128s")
HELLO, FORK, ATTACH, RETAIN, LANE_OPEN, LANE_CLOSE, SET_OPEN, SET_CLOSE, QUERY, COMMAND, SYNC = range(1, 12)
SHUTDOWN, CLOSE, ACCEPTED, RECVD, SETOPT, WATCH, UNWATCH = WITHOUT_LANE = 6, 7, 8, 9, 10, 12, 13  # enum cv_op
path, version, case, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
rng = random.Random(seed)


def connected(blocking=True):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10 if blocking else 0)
    s.connect(path)
    return s


def request(op, arg=0, text=b"", text_len=None, pid=None, ver=None):
    return REQUEST.pack(op, version if ver is None else ver, arg, os.getpid() if pid is None else pid,
                        len(text) if text_len is None else text_len, text)


def send(s, data, fds=()):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])


def ask(s, *args, fds=(), **words):
    """(result, value, proc, size, text, descriptors)"""
    send(s, request(*args, **words), fds)
    data, ancillary, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64))
    assert len(data) == REPLY.size, f"the reply has {len(data)} bytes"
    got = array.array("i")
    for _, _, content in ancillary:
        got.frombytes(content[: len(content) - len(content) % got.itemsize])
    op, result, value, proc, size, text = REPLY.unpack(data)
    assert op == args[0], f"the reply to {args[0]} is one to {op}"
    return result, value, proc, size, text.split(b"\0")[0], list(got)


def is_over(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def refused(what, reply):
    assert reply[0] < 0, f"{what} is granted"


def forked(s):
    """The connection of a child of the process at s."""
    reply = ask(s, FORK)
    assert reply[0] == 0 and len(reply[-1]) == 1, f"FORK in order: {reply}"
    child = socket.socket(fileno=reply[-1][0])
    child.settimeout(10)
    return child


def close(fds):
    for fd in fds:
        os.close(fd)


def lengths():
    """A message of another length than a request's ends the connection, and only that. One that names another version is a
    library of other times, and is told before."""
    other = connected()
    for n in list(range(1, 40)) + [REQUEST.size - 1, REQUEST.size + 1, 4096, 65536]:
        s = connected()
        send(s, struct.pack("=II", HELLO, version)[:n] + rng.randbytes(max(0, n - 8)))
        assert is_over(s), f"{n} bytes: the connection goes on"
        s.close()
    for n in (8, 12, 40, REQUEST.size - 1, REQUEST.size, REQUEST.size + 1, 4096):
        for other_version in (0, version - 1, version + 1, 2**32 - 1):
            s = connected()
            send(s, struct.pack("=II", HELLO, other_version) + bytes(n - 8))
            op, result, _, _, _, text = REPLY.unpack(s.recv(4096))
            assert (op, result) == (HELLO, -28), f"a library of version {other_version}, {n} bytes: {op}, {result}"
            assert f"speaks version {other_version}, the engine {version}".encode() in text, text
            assert n == REQUEST.size or is_over(s), f"version {other_version}, {n} bytes: the connection goes on"
            s.close()
    assert ask(other, QUERY, text=b"version")[0] == 0


def nonsense():
    """Requests of the right length with random fields: an answer to each."""
    s, taken = connected(), 0
    for i in range(3000):
        if i % 300 == 0:
            s.close()
            s = connected()
        reply = ask(s, rng.choice([rng.randrange(0, 13), rng.getrandbits(32)]),
                    arg=rng.choice([0, 1, rng.getrandbits(16), rng.getrandbits(32), 2**32 - 1, 2**31]),
                    text=rng.randbytes(rng.choice([0, 4, 64, 1024])),
                    text_len=rng.choice([0, 4, 1024, 1025, 2**32 - 1, rng.getrandbits(32)]),
                    pid=rng.choice([0, -1, 1, os.getpid(), 2**31 - 1]),
                    ver=rng.choice([version] * 9 + [0, version + 1]))
        taken += reply[0] == 0
        close(reply[-1])
    print(f"{taken} of 3000 were sensible")


def order():
    """Every operation where it does not belong."""
    s = connected()
    for op in (ATTACH, RETAIN, LANE_CLOSE, SET_CLOSE, COMMAND, SYNC, 0, 12, 2**32 - 1):
        refused(f"operation {op} without HELLO", ask(s, op))
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    for op in (LANE_OPEN, SET_OPEN):
        refused(f"operation {op} without HELLO", ask(s, op, fds=[bell]))
    refused("FORK without HELLO", ask(s, FORK))
    refused("another version", ask(s, HELLO, ver=version + 1))
    hello = ask(s, HELLO)
    assert hello[0] == 0 and len(hello[-1]) >= 3, f"HELLO: {hello[0]}, {len(hello[-1])} descriptors"
    refused("HELLO twice", ask(s, HELLO))
    child = forked(s)
    refused("HELLO of a child", ask(child, HELLO))
    forked(forked(child)).close()
    for arg, text_len in ((257, 1028), (256, 4), (1, 8), (2**30, 0), (2**32 - 1, 0)):
        refused(f"RETAIN of {arg} in {text_len} bytes", ask(s, RETAIN, arg=arg, text_len=text_len))
    for op in (LANE_CLOSE, SET_CLOSE):
        for arg in (0, 65536, 2**32 - 1):
            refused(f"closing {arg}, which is not open", ask(s, op, arg=arg))
    index = ask(s, SET_OPEN, fds=[bell])
    assert index[0] == 0, "SET_OPEN in order is refused"
    refused("closing another process's set", ask(child, SET_CLOSE, arg=index[1]))
    refused("closing a set as a lane", ask(s, LANE_CLOSE, arg=index[1]))
    assert ask(s, SET_CLOSE, arg=index[1])[0] == 0
    refused("closing a set twice", ask(s, SET_CLOSE, arg=index[1]))
    for n in (0, 63, 65, 1024):
        refused(f"a command of {n} bytes", ask(s, COMMAND, text=bytes([RECVD] * n)))
    refused("a command for a worker that there is not", ask(s, COMMAND, arg=16, text=bytes([RECVD] * 64)))
    for op in range(256):
        granted = ask(s, COMMAND, text=bytes([op]) + rng.randbytes(63))[0] == 0
        assert granted == (op in WITHOUT_LANE), f"command {op} without a lane: {granted}"
    for text in (b"", b"ss\0x"[:2] + b"x", b"../../etc/passwd", b"x" * 1024):
        refused(f"QUERY {text[:20]!r}", ask(s, QUERY, text=text))


def doorbells():
    """Only an eventfd is taken for a doorbell; no descriptor, two, or another kind is refused, and closed."""
    s = connected()
    ask(s, HELLO)
    r, w = os.pipe()
    a, b = socket.socketpair()
    own = connected()
    for op in (LANE_OPEN, SET_OPEN):
        refused("no doorbell", ask(s, op))
        for fd in (r, w, a.fileno(), own.fileno(), os.open("/dev/zero", os.O_RDWR), os.open("/", os.O_RDONLY)):
            refused("a doorbell that is no eventfd", ask(s, op, fds=[fd]))
    # More descriptors than anybody asked for: the first counts, none stays.
    bells = [os.eventfd(0) for _ in range(16)]
    reply = ask(s, SET_OPEN, fds=bells)
    assert reply[0] == 0
    assert fcntl.fcntl(bells[0], fcntl.F_GETFL) & os.O_NONBLOCK, "the doorbell can block"
    os.close(w)
    assert os.read(r, 1) == b"", "the engine keeps a descriptor that it refused"


def family():
    """Who names a family shares a segment with its other processes of the same user, and with nobody else."""
    def segment(name, uid=0):
        os.seteuid(uid)
        s = connected()
        os.seteuid(0)
        result, _, proc, _, _, fds = ask(s, HELLO, text=name)
        assert result == 0, f"HELLO of {name}: {result}"
        inode = os.fstat(fds[0]).st_ino
        close(fds)
        return s, proc, inode

    one, two = b"0123456789abcdef" * 2, b"0123456789abcdeF" * 2
    a, b, c = segment(one), segment(one), segment(two)
    nobody, again, stranger = segment(b""), segment(b""), segment(one, uid=12345)
    assert a[2] == b[2] and a[1] != b[1], "relatives do not share a segment"
    assert len({a[2], c[2], nobody[2], again[2], stranger[2]}) == 5, "strangers share a segment"
    for name in (b"x", one[:-1], one + b"x", bytes(32), one[:-1] + b"\0"):
        refused(f"a family named {name}", ask(connected(), HELLO, text=name))
    a[0].close()
    assert segment(one)[2] == b[2], "the group ended with one of its processes"
    assert ask(b[0], SET_OPEN, fds=[os.eventfd(0)])[0] == 0, "a relative ended with the other"


def ends():
    """Who hung up before a SYNC is gone when that is answered, whatever he had still asked."""
    s, query = connected(), connected()
    assert ask(s, HELLO)[0] == 0

    def processes():
        report = os.fdopen(ask(query, QUERY, text=b"stat")[-1][0])
        with report:
            return json.load(report)["processes"]

    before = processes()
    for _ in range(50):
        children = [forked(s) for _ in range(8)]
        assert processes() == before + 8, f"{processes()} processes, {before} and 8 children"
        for child in children:
            for op in rng.choices((SYNC, FORK, QUERY, HELLO, 0), k=rng.randrange(4)):
                send(child, request(op))
            child.close()
        assert ask(s, SYNC)[0] == 0, "SYNC in order is refused"
        assert processes() == before, f"{processes()} processes, {before} and 8 that are over"


def sets():
    """As many sets as there are, then no more; all come back with the process."""
    bell = os.eventfd(0)
    for _ in range(3):
        s, n = connected(), 0
        ask(s, HELLO)
        while n < 3000 and ask(s, SET_OPEN, fds=[bell])[0] == 0:
            n += 1
        assert n > 10, f"only {n} sets"
        s.close()
    print(f"{n} sets")


def seals():
    """The segment keeps its size, the page its content."""
    s = connected()
    _, _, _, size, _, fds = ask(s, HELLO)
    segment, page = fds[0], fds[1]
    length = os.fstat(page).st_size
    for what, act in (
            ("shrinking the segment", lambda: os.ftruncate(segment, 0)),
            ("growing the segment", lambda: os.ftruncate(segment, size + 4096)),
            ("shrinking the page", lambda: os.ftruncate(page, 0)),
            ("writing the page", lambda: os.pwrite(page, b"x", 0)),
            ("mapping the page writable", lambda: mmap.mmap(page, length)),
            ("another seal", lambda: fcntl.fcntl(segment, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)),
            ("opening the page anew", lambda: mmap.mmap(os.open(f"/proc/self/fd/{page}", os.O_RDWR), length))):
        try:
            act()
        except PermissionError:
            continue
        raise AssertionError(f"{what} works")


def memory():
    """A program may make so much of its segment real, by writing to it in any way, and no more: its connection ends, the
    memory comes back, though the program keeps the descriptor."""
    most = int(os.environ["MEMORY"])
    modest, s = connected(), connected()
    _, _, _, size, _, fds = ask(modest, HELLO)
    os.pwrite(fds[0], bytes(most // 4), size - most // 4)
    _, _, _, size, _, fds = ask(s, HELLO)
    os.pwrite(fds[0], bytes(most * 3 // 4), size - most * 3 // 4)
    assert os.fstat(fds[0]).st_blocks * 512 > most // 2
    index = ask(s, SET_OPEN, fds=[os.eventfd(0)])
    assert index[0] == 0, "a program with less than the limit is refused"
    os.pwrite(fds[0], bytes(most), size - 2 * most)
    assert is_over(s), "the connection goes on"
    s.close()
    freed = time.monotonic() + 10
    while os.fstat(fds[0]).st_blocks > 8:  # its first page
        assert time.monotonic() < freed, f"{os.fstat(fds[0]).st_blocks * 512} bytes are still real"
        time.sleep(0.01)
    assert ask(modest, SET_OPEN, fds=[os.eventfd(0)])[0] == 0, "another program is ended too"


def deaf():
    """Peers that ask and never read: they are dropped, nobody waits for them."""
    for _ in range(8):
        s, n = connected(), 0
        s.setblocking(False)
        try:
            while n < 20000:
                send(s, request(QUERY, text=b"stat"))
                n += 1
        except BlockingIOError:
            # Full: the engine drops us once it cannot answer.
            s.settimeout(10)
            try:
                while True:
                    send(s, request(QUERY, text=b"stat"))
            except (BrokenPipeError, ConnectionResetError):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
        s.close()


def descriptors():
    """An engine out of descriptors (the test has set its limit) turns peers away: they see the end, at once."""
    held, turned = [], 0
    for _ in range(200):
        s = connected()
        held.append(s)
        try:
            ask(s, QUERY, text=b"version")
        except (AssertionError, ConnectionResetError, BrokenPipeError):
            turned += 1
    assert turned > 0, "the engine has descriptors without end: the test tests nothing"
    print(f"{turned} turned away")


def crowd():
    """More connections than programs may be; those who stay get through."""
    first = connected()
    assert ask(first, HELLO)[0] == 0
    held, hellos = [], 0
    for _ in range(400):
        s = connected()
        held.append(s)
        reply = ask(s, HELLO)
        hellos += reply[0] == 0
        close(reply[-1])
    assert 10 < hellos < 400, f"{hellos} of 400 programs at once are taken"
    assert ask(first, QUERY, text=b"version")[0] == 0
    print(f"{hellos} groups")


def user():
    """One user's programs: as many as user_groups= allows, as many connections as user_processes= does; others go on."""
    one = int(os.environ["USER_GROUPS"]), int(os.environ["USER_PROCESSES"])
    other = connected()
    assert ask(other, HELLO)[0] == 0, "root is refused"
    for uid in (12345, 12346):
        os.seteuid(uid)
        held, hellos = [], 0
        for i in range(one[1] + 5):
            s = connected()
            held.append(s)
            if i >= one[1]:
                assert is_over(s), f"connection {i} of one user is taken"
                continue
            reply = ask(s, HELLO)
            hellos += reply[0] == 0
            assert (reply[0] == 0) == (i < one[0]), f"program {i} of one user: {reply[0]}"
            close(reply[-1])
        os.seteuid(0)
        extra = connected()
        assert ask(extra, HELLO)[0] == 0, "root is refused while a user has all that he may have"
        extra.close()
        crowded.extend(held)
    print(f"{hellos} groups of each user")


crowded = []

try:
    globals()[case]()
except AssertionError as e:
    sys.exit(f"{case}: {e}")
