/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random worlds: a seed decides the link, the ports, the buffers, how users read and write, and
 * whether one lets go in the middle. Whatever it decides, after every step both connections are
 * consistent (tcp_consistent), every byte that is read is the one that was written at its place, a
 * transfer that nobody ends early is whole in time (or never began: all SYNs and all questions for
 * the neighbour can be lost, one seed in fifty at most), and at the end no connection, no
 * TIME_WAIT, no send buffer and no packet is left.
 *
 * SEEDS=N: the seeds 1 to N (default 1000; ./dev test --seeds N). SEED=N: that one alone.
 * SEEDS_HASH=1: prints a hash of all frames of each seed: the same whatever compiler and
 * optimisation built this (tests/world/hashes.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/transfer.h"

#define BOUND_S                                                                                    \
	3600 /* loss both ways and a reader who is slow: hours of virtual time are cheap, but      \
		bounded */

static uint64_t dice;
static unsigned unanswered; /* seeds in which all SYNs, or all questions for the neighbour, or their
			       answers were lost */

static uint32_t draw(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 16) % below;
}
/* Mostly nothing, now and then up to `most`. */
static uint32_t sometimes(uint32_t most)
{
	return draw(3) == 0 ? draw(most + 1) : 0;
}

static void ports_draw(struct world *w)
{
	static const uint16_t mtus[] = {576, 1280, 1500, 1500, 1500, 4000, 9000, 65535};
	uint16_t mtu = mtus[draw(sizeof(mtus) / sizeof(mtus[0]))];
	uint32_t tso = draw(5);

	for (int i = 0; i < 2; i++) {
		struct port *p = &w->host[i].port;

		/* IPv6 needs 1,280 (RFC8200:5). */
		p->mtu = mtu;
		if (tso == 1)
			p->tso = PORT_TSO_SOFTWARE;
		if (tso == 2)
			p->tso = PORT_TSO_TRUSTED;
		p->tso_max = tso == 0 ? 0 : 65535;
		assert_int_equal(net_port_changed(w->host[i].e, p), 0);
	}
}

static struct plan plan_draw(void)
{
	static const uint32_t delays_us[] = {0, 50, 1000, 20000, 150000};
	static const char *const algorithms[] = {
#define X(name) #name,
#include "stack/core/tcp_congestion.def"
#undef X
	};
	struct plan p = {.prepare = ports_draw, .bound_s = BOUND_S};

	p.link.delay_ns = delays_us[draw(5)] * 1000ull;
	p.link.loss = sometimes(200);
	p.link.duplicate = sometimes(200);
	p.link.reorder = sometimes(300);
	p.link.reorder_ns = draw(50) * MS;
	p.link.corrupt = sometimes(50);
	if (draw(4) == 0) {
		p.link.rate_bps = 1000000ull << draw(8);
		p.link.queue_bytes = 70000u << draw(4); /* a frame of any size fits */
	}
	p.bytes = draw(8) == 0 ? draw(400000) : draw(40000);
	p.rcvbuf = sometimes(60000);
	p.queue = sometimes(20000);
	p.write_most = sometimes(3000);
	p.read_most = sometimes(5000);
	if (p.bytes > 20000 && p.write_most != 0)
		p.write_most += 200;
	if (p.bytes > 20000 && p.read_most != 0)
		p.read_most += 200;
	p.nodelay = draw(2);
	p.ipv6 = draw(3) == 0;
	p.congestion = algorithms[draw(sizeof(algorithms) / sizeof(algorithms[0]))];
	return p;
}

static void consistent(const struct run *r, const struct sock *sk)
{
	const char *why;

	if (sk != NULL && !tcp_consistent(tcp_of((struct sock *)(uintptr_t)sk), &why))
		fail_msg("seed %llu: %s", (unsigned long long)r->seed, why);
}

static void step(struct run *r)
{
	run_step(r);
	consistent(r, r->client.sk);
	consistent(r, r->server.sk);
}

static bool never_began(const struct run *r)
{
	const struct world_link *l = &r->plan->link;

	return (l->loss > 0 || l->corrupt > 0) && r->server.sk == NULL &&
	       (r->client.sk->error == CV_ETIMEDOUT || r->client.sk->error == CV_EHOSTUNREACH);
}

static void seed_run(uint64_t seed)
{
	struct plan plan;
	struct run *r;
	uint64_t begin, hash;
	uint32_t steps;
	bool early;

	dice = seed * 0x9e3779b97f4a7c15ull + 1;
	early = draw(4) == 0;
	steps = early ? draw(300) : UINT32_MAX;
	plan = plan_draw();
	if (plan.ipv6)
		plan.prepare = NULL;
	r = run_new(&plan, seed);
	begin = r->w->now_ns;
	while (!run_done(r) && steps-- > 0 && r->w->now_ns - begin < BOUND_S * SEC)
		step(r);
	if (early && draw(3) != 0)
		side_close(&r->client, draw(2));
	if (early && draw(3) != 0)
		side_close(&r->server, draw(2));
	if (!early && never_began(r)) {
		unanswered++;
	} else if (!early && !run_done(r)) {
		run_story(r);
		fail_msg("seed %llu: not over after %u virtual seconds", (unsigned long long)seed,
			BOUND_S);
	}
	hash = run_end(r);
	if (getenv("SEEDS_HASH") != NULL)
		print_message(
			"seed %llu: %016llx\n", (unsigned long long)seed, (unsigned long long)hash);
}

static void any_seed__holds_what_tcp_promises(void **state)
{
	const char *one = getenv("SEED"), *all = getenv("SEEDS");
	uint64_t last = all != NULL ? strtoull(all, NULL, 10) : 1000;

	(void)state;
	if (one != NULL) {
		seed_run(strtoull(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= last; seed++)
		seed_run(seed);
	assert_true(unanswered * 50 <= last);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_seed__holds_what_tcp_promises),
	};

	world_eal_init("tcp_seeds");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
