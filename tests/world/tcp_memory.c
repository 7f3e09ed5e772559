/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an idle connection costs: so many are opened, used once and left alone, and the memory of
 * both engines is counted, as the kernel counts it (resident pages) and as the engine does
 * (objects). No buffer may be held for an idle one.
 *
 * IDLE=N: so many connections instead of 100,000 (IDLE=1000000 takes a minute and 2.5 GB).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <rte_mempool.h>

#include "stack/tcp/tcp.h"
#include "stack/user/priv.h"
#include "tests/world/world.h"

#define SERVER_PORTS 50u /* 28,232 source ports each */
#define AT_ONCE 500u     /* handshakes */
#define GOAL_BYTES 1024u
/* A sanitizer has memory of its own beside every byte, and time. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#define IDLE_DEFAULT 20000u
#else
#define SANITIZED false
#define IDLE_DEFAULT 100000u
#endif
#define FIXED_BYTES                                                                                \
	(16u << 20) /* beginnings of other pools, in pages of 2 MiB, and the test's heap */

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[128];
	uint64_t kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Anonymous: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

static struct sock *listener_at(struct world *w, uint16_t port)
{
	struct cv_endpoint at = world_endpoint(1, port);
	struct sock *sk;

	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &sk), 0);
	assert_int_equal(sock_bind(sk, &at), 0);
	assert_int_equal(sock_listen(sk, AT_ONCE), 0);
	return sk;
}

/* AT_ONCE connections to a port, each carries a byte there and one back. */
static void connect_some(
	struct world *w, struct sock *ls, uint16_t port, struct sock **mine, struct sock **theirs)
{
	struct cv_endpoint at = world_endpoint(1, port);
	unsigned released = 0, n = 0;
	char c;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &mine[i]), 0);
		assert_int_equal(sock_connect(mine[i], &at), 0);
	}
	/* The very first SYNs wait for the neighbour's address, and not all of them can. */
	for (unsigned ms = 0; ms < 4000 && n < AT_ONCE; ms++) {
		world_run(w, MS, NULL, NULL);
		while (n < AT_ONCE && (theirs[n] = sock_accept(ls)) != NULL) {
			sock_accept_done(ls);
			n++;
		}
	}
	assert_int_equal(n, AT_ONCE);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		assert_int_equal(sock_send(mine[i], world_txbuf("x", 1, &released)), 0);
		assert_int_equal(sock_send(theirs[i], world_txbuf("y", 1, &released)), 0);
	}
	world_run(w, 300 * MS, NULL, NULL);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		assert_int_equal(sock_recv_copy(mine[i], &c, 1), 1);
		assert_int_equal(sock_recv_copy(theirs[i], &c, 1), 1);
		assert_true(mine[i]->status & CV_ST_CONNECTED);
	}
	world_run(w, MS, NULL, NULL);
	assert_int_equal(released, 2 * AT_ONCE);
}

/* Of one engine for each of its connections: objects (all of them: a handshake leaves none behind)
 * and tables. The wheel's slots are where the timers' nodes are, in the objects. */
static uint64_t engine_bytes(const struct engine *e, uint32_t connections)
{
	const struct tcp *t = e->tcp;
	const struct pool *pools[] = {
		&t->socks, &t->tws, &t->embryos, &t->listeners, &t->losses, &t->ooos, &t->xmits};
	uint64_t bytes = ((uint64_t)t->flow_mask + 1) * sizeof(*t->flows) +
			 (UINT16_MAX + 1) * sizeof(*t->ports) + sizeof(*t) + sizeof(*e);

	for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
		bytes += pools[i]->size * pools[i]->used;
	return bytes / connections;
}

static void idle_connections__each__a_kibibyte_and_no_buffer(void **state)
{
	const char *asked = getenv("IDLE");
	uint32_t n = (asked != NULL ? (uint32_t)strtoul(asked, NULL, 10) : IDLE_DEFAULT) / AT_ONCE *
		     AT_ONCE;
	struct sock *ls[SERVER_PORTS], **mine = calloc(n, sizeof(*mine)),
				       **theirs = calloc(n, sizeof(*theirs));
	uint64_t before, resident, counted, owned;
	struct world *w;

	(void)state;
	assert_true(mine != NULL && theirs != NULL);
	memset(mine, 1, n * sizeof(*mine)); /* these pages are ours, not the engines' */
	memset(theirs, 1, n * sizeof(*theirs));
	world_tcp_max = n + SERVER_PORTS;
	w = world_new(1, &(struct world_link){.delay_ns = MS / 100});
	before = resident_bytes();
	for (unsigned i = 0; i < SERVER_PORTS; i++)
		ls[i] = listener_at(w, (uint16_t)(1000 + i));
	for (uint32_t i = 0; i < n; i += AT_ONCE) {
		unsigned p = i / AT_ONCE % SERVER_PORTS;

		connect_some(w, ls[p], (uint16_t)(1000 + p), mine + i, theirs + i);
	}
	assert_int_equal(rte_mempool_in_use_count(w->pool), 0);
	resident = (resident_bytes() - before - FIXED_BYTES) / (2 * n);
	counted = (engine_bytes(w->host[0].e, n) + engine_bytes(w->host[1].e, n)) / 2;
	owned = counted + sizeof(struct user_sock);
	print_message("%u idle connections, each %lu B of the engine's memory: %lu B of objects "
		      "and tables (%lu B resident) and "
		      "%zu B for the program that owns it\n",
		n, owned, counted, resident, sizeof(struct user_sock));
	print_message("and %zu B of the segment that the program shares with the engine\n",
		sizeof(struct cv_sock));
	assert_true(SANITIZED || resident <= counted);
	/* With sanitizers there are few, among which the tables are divided. */
	assert_true(SANITIZED || owned <= GOAL_BYTES);
	for (uint32_t i = 0; i < n; i++) {
		sock_close(mine[i], true);
		sock_close(theirs[i], true);
		if (i % AT_ONCE == 0)
			world_run(w, MS, NULL, NULL);
	}
	for (unsigned i = 0; i < SERVER_PORTS; i++)
		sock_close(ls[i], false);
	world_run(w, SEC, NULL, NULL);
	world_free(w);
	world_tcp_max = 4096;
	free(mine);
	free(theirs);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_connections__each__a_kibibyte_and_no_buffer),
	};

	world_eal_init("tcp_memory");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
