/* SPDX-License-Identifier: BSD-3-Clause */
/* socket, bind, listen, accept, connect, getsockname, shutdown and close: what each returns, errno by
 * errno (socket(2), bind(2), listen(2), accept(2), connect(2), shutdown(2)). */
#include "tests/diff/diff.h"

CASE(listener__connect_accept__data_both_ways)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	same(write(client, "ping", 4), 4);
	same(read(server, text, sizeof(text)), 4);
	same_bytes(text, "ping", 4);
	same(write(server, "pong!", 5), 5);
	same(read(client, text, sizeof(text)), 5);
	same_bytes(text, "pong!", 5);
}
