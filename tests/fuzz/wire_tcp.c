/* SPDX-License-Identifier: BSD-3-Clause */
/* The TCP header's parser: what it takes, it writes again, and reads the same. */
#include <stdlib.h>
#include <string.h>

#include "stack/wire/tcp.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_tcp h, again;
	uint8_t out[WIRE_TCP_BYTES_MAX];
	uint8_t *exact = malloc(size ? size : 1); /* its end is the heap's: over-reads are seen */
	size_t n;

	memcpy(exact, data, size);
	if (wire_tcp_parse(&h, exact, size)) {
		n = wire_tcp_emit(&h, out);
		if (n > sizeof(out) || n != wire_tcp_emit_bytes(&h) || !wire_tcp_parse(&again, out, n) ||
			again.seq != h.seq || again.ack != h.ack || again.flags != h.flags ||
			again.wnd != h.wnd || again.has_ts != h.has_ts ||
			(h.has_ts && again.tsval != h.tsval))
			abort();
	}
	free(exact);
	return 0;
}
