# SPDX-License-Identifier: BSD-3-Clause
"""http_many.py HOST PORT PATH COUNT CONNECTIONS keep|close FILE: asks COUNT times over CONNECTIONS threads and
compares every status and body with FILE. Exit 1 at the first difference, with what it was."""
import http.client
import sys
import threading

host, port, path, count, width, mode, wanted_file = sys.argv[1:]
count, width = int(count), int(width)
wanted = open(wanted_file, "rb").read()
wrong = []


def ask(times):
    headers = {"Connection": "close"} if mode == "close" else {}
    connection = None
    try:
        for i in range(times):
            if connection is None:
                connection = http.client.HTTPConnection(host, int(port), timeout=20)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or body != wanted:
                wrong.append(f"request {i}: status {answer.status}, {len(body)} bytes")
                return
            if mode == "close":
                connection.close()
                connection = None
            elif answer.will_close:
                wrong.append(f"request {i}: the server closes a keep-alive connection")
                return
            if wrong:
                return
    except Exception as error:  # whatever went wrong is the test's result
        wrong.append(f"request {i}: {type(error).__name__} {error}")


share = [count // width + (1 if i < count % width else 0) for i in range(width)]
threads = [threading.Thread(target=ask, args=(n,)) for n in share]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if wrong:
    sys.exit("; ".join(wrong[:5]))
print(f"{count} requests, {width} connections at a time, {mode}: all as wanted")
