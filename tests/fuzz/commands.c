/* SPDX-License-Identifier: BSD-3-Clause */
/* A program that writes what it likes into its segment: commands that look right, and bytes anywhere. Beside it a
 * well-behaved program of another group has a connection, which must stay. */
#include <string.h>

#include "stack/tcp/tcp.h"
#include "tests/fuzz/fuzz.h"
#include "tests/world/program.h"

static const struct user_limits limits = {.socks_max = 128,
	.rxds_max = 128,
	.lanes_max = 2,
	.sets_max = 16,
	.cmd_entries = 64,
	.comp_entries = 64,
	.set_entries = 16,
	.rx_bytes = 1 << 18,
	.tx_bytes_lane = 1 << 20};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_commands");
	world_tcp_max = 64;
	return 0;
}

/* A socket that the engine has told it of, or a number that may be one's. */
static uint32_t some_socket(const struct program *p, const struct cv_segment *geo, uint8_t which)
{
	const struct cv_sock *records = (const void *)(p->group->seg + geo->socks_off);

	return which & 128 ? which % 16 : records[1 + which % 8].handle;
}

static void command(struct program *p, struct fuzz_input *in, const struct cv_segment *geo)
{
	struct cv_command c = {.op = fuzz_u8(in) % (CV_CMD_COUNT + 1), .flags = fuzz_u8(in) & 63};
	struct cv_command *ring = (void *)(p->shared + 1);
	uint8_t bits = fuzz_u8(in);

	c.family = bits & 1 ? CV_AF_INET : bits & 2 ? CV_AF_INET6 : 0;
	c.type = bits & 4 ? CV_STREAM : CV_DGRAM;
	c.seq = bits >> 7;
	c.sock = some_socket(p, geo, fuzz_u8(in));
	c.len = fuzz_u16(in);
	c.pos = fuzz_u8(in) % 8 == 0 ? fuzz_u32(in) : 0;
	c.off = geo->tx_off + p->lane * geo->tx_bytes_lane + fuzz_u32(in) % (2 * limits.tx_bytes_lane);
	c.arg = fuzz_u8(in);
	c.peer = world_endpoint(bits >> 3 & 1, (uint16_t)(88 + (bits >> 4 & 3)));
	if (c.op == CV_CMD_SETOPT) {
		size_t n;
		const uint8_t *value = fuzz_bytes(in, sizeof(c.value), &n);

		memcpy(c.value, value, n);
	}
	if (bits & 64) { /* as from a thread without a lane */
		(void)user_proc_command(p->group->g, p->proc, &c);
		return;
	}
	ring[p->tail++ & (limits.cmd_entries - 1)] = c;
	__atomic_store_n(&p->shared->cmd_tail, p->tail, __ATOMIC_RELEASE);
}

static void scribble(struct program_group *g, struct fuzz_input *in, const struct cv_segment *geo)
{
	uint64_t at = fuzz_u32(in) % geo->rx_off;
	size_t n;
	const uint8_t *from = fuzz_bytes(in, 1u + fuzz_u8(in) % 16, &n);

	if (at + n <= geo->rx_off)
		memcpy(g->seg + at, from, n);
}

/* The program at the other end takes what connected to it, and sends. */
static void peer_acts(struct program *peer, uint32_t listener, uint32_t *taken, uint8_t what)
{
	static const uint8_t data[3000];
	uint32_t sock = program_accept(peer, listener, true);

	if (sock != 0) {
		if (*taken != 0)
			program_close(peer, *taken);
		*taken = sock;
	}
	if (*taken != 0 && (program_record(peer, *taken)->status & (CV_ST_CONNECTED | CV_ST_DEAD)) == CV_ST_CONNECTED)
		(void)program_send(peer, *taken, data, 1u + what * 11u, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct world_link link = {.delay_ns = MS};
	struct fuzz_input in = {data, size};
	struct world *w = world_new(1, &link);
	struct program_host here, there;
	struct program_group *bad_group, *good_group, *peer_group;
	struct program bad, good, peer;
	struct cv_segment geo;
	uint32_t listener, sock, taken = 0;

	program_host_init(&here, w, 0);
	program_host_init(&there, w, 1);
	bad_group = program_group_new(&here, &limits);
	good_group = program_group_new(&here, &limits);
	peer_group = program_group_new(&there, &limits);
	program_start(&bad, bad_group, NULL);
	program_start(&good, good_group, NULL);
	program_start(&peer, peer_group, NULL);
	listener = program_listener(&peer, 1, 90);
	sock = program_connect(&good, 1, 90);
	world_run(w, 20 * MS, NULL, NULL);
	geo = *(const struct cv_segment *)(const void *)bad_group->seg;
	while (in.left > 0) {
		uint8_t op = fuzz_u8(&in);

		if (op % 8 == 0)
			peer_acts(&peer, listener, &taken, op >> 3);
		else if (op % 4 < 2)
			command(&bad, &in, &geo);
		else if (op % 4 == 2)
			scribble(bad_group, &in, &geo);
		else
			world_run(w, (op >> 2) * MS, NULL, NULL);
	}
	world_run(w, 10 * MS, NULL, NULL);
	if (!(program_record(&good, sock)->status & CV_ST_CONNECTED) ||
		program_info(good_group).violations != 0)
		__builtin_trap();
	program_close(&peer, listener);
	program_group_free(bad_group);
	program_group_free(good_group);
	program_group_free(peer_group);
	world_run(w, 600 * SEC, NULL, NULL);
	world_free(w);
	program_host_fini(&here);
	program_host_fini(&there);
	return 0;
}
