/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine that ends and starts again while its peers still remember it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

#define SECOND 1000000000ull

struct ends {
	struct sock *client, *listener;
};

static bool connected(void *ctx)
{
	const struct ends *p = ctx;

	return (p->client->status & CV_ST_CONNECTED) != 0 && sock_accepts_n(p->listener) > 0;
}

static void client_connect(struct world *w, struct ends *p)
{
	const struct cv_endpoint from = world_endpoint(0, 5000), to = world_endpoint(1, 80);

	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &p->client), 0);
	assert_int_equal(sock_bind(p->client, &from), 0);
	assert_int_equal(sock_connect(p->client, &to), 0);
}

static struct sock *server_accept(struct ends *p)
{
	struct sock *sk = sock_accept(p->listener);

	assert_non_null(sk);
	sock_accept_done(p->listener);
	return sk;
}

static uint32_t time_waits(struct world *w, int host)
{
	uint32_t connections, waits;

	tcp_count(w->host[host].e, &connections, &waits);
	return waits;
}

/* The server closes first, so that TIME_WAIT is its; then the client's engine dies and its successor connects from
 * the same port. Without the secret it would be refused as an old duplicate in half of the cases, and come through
 * with the second SYN only, a second later. */
static void restarted__same_port__its_peers_time_wait_takes_the_first_syn(void **state)
{
	const struct world_link link = {.delay_ns = 1000000};

	(void)state;
	for (uint64_t seed = 0; seed < 16; seed++) {
		struct world *w = world_new(seed, &link);
		const struct cv_endpoint at = world_endpoint(1, 80);
		struct ends p;

		assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &p.listener), 0);
		assert_int_equal(sock_bind(p.listener, &at), 0);
		assert_int_equal(sock_listen(p.listener, 8), 0);
		client_connect(w, &p);
		assert_true(world_run(w, SECOND, connected, &p));
		sock_close(server_accept(&p), false);
		world_run(w, SECOND / 10, NULL, NULL);
		sock_close(p.client, false);
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(time_waits(w, 1), 1);

		world_host_restart(w, 0);
		client_connect(w, &p);
		assert_true(world_run(w, SECOND / 2, connected, &p));
		assert_int_equal(time_waits(w, 1), 0);
		sock_close(server_accept(&p), true);
		sock_close(p.client, true);
		sock_close(p.listener, true);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restarted__same_port__its_peers_time_wait_takes_the_first_syn),
	};

	world_eal_init("tcp_restart");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
