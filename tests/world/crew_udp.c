/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP on several workers (stack/core/crew.h): sockets live anywhere, a port is one worker's, those that share one are spread
 * and found by their flows, and what is sent to many reaches every one of them.
 */
#include "tests/world/net_common.h"

#include "stack/core/crew.h"
#include "stack/net/priv.h"

#define WORKERS 2
#define PORT 2000
#define FLOWS 64u

static const enum world_rss queues[] = {WORLD_RSS_ONE, WORLD_RSS_HASH, WORLD_RSS_TURN};

static struct sock *open_on(struct world *w, int host, uint16_t worker, bool reuseport)
{
	struct sock *sk;

	assert_int_equal(sock_open(world_engine(&w->host[host], worker), CV_AF_INET, CV_DGRAM, &sk), 0);
	sk->user = w;
	sk->reuseport = reuseport;
	return sk;
}

static struct sock *bound_on(struct world *w, int host, uint16_t worker, const char *text, uint16_t port, bool reuseport)
{
	struct sock *sk = open_on(w, host, worker, reuseport);
	const struct cv_endpoint ep = at(text, port);

	assert_int_equal(sock_bind(sk, &ep), 0);
	return sk;
}

static uint32_t receive_all(struct sock *sk)
{
	char got[2000];
	uint32_t n = 0;

	while (sock_recv_copy(sk, got, sizeof(got)) > 0)
		n++;
	return n;
}

/* Each flow's datagrams come to one of those that share the port, always the same; every one gets some. */
static void reuseport__on_all_workers__flows_are_spread_and_stay(void **state)
{
	(void)state;
	for (unsigned q = 0; q < 3; q++) {
		struct world *w = world_new_crew(1, &perfect, WORKERS, queues[q]);
		struct sock *server[4], *client[FLOWS];
		uint32_t all = 0;

		for (uint16_t i = 0; i < 4; i++)
			server[i] = bound_on(w, 1, i % WORKERS, "10.0.0.2", PORT, true);
		for (unsigned i = 0; i < FLOWS; i++)
			client[i] = bound_on(w, 0, i % WORKERS, "10.0.0.1", (uint16_t)(5000 + i), false);
		send_at(client[0], "10.0.0.2", PORT, "x", 1); /* the neighbour */
		send_at(client[1], "10.0.0.2", PORT, "x", 1);
		world_run(w, SECOND, NULL, NULL);
		for (unsigned i = 0; i < 4; i++)
			receive_all(server[i]);
		for (unsigned i = 0; i < FLOWS; i++) {
			unsigned takers = 0;

			for (unsigned k = 0; k < 3; k++)
				send_at(client[i], "10.0.0.2", PORT, "x", 1);
			world_run(w, 10 * MS, NULL, NULL);
			for (unsigned k = 0; k < 4; k++) {
				uint32_t n = receive_all(server[k]);

				assert_true(n == 0 || n == 3);
				takers += n > 0;
				all |= n > 0 ? 1u << k : 0;
			}
			assert_int_equal(takers, 1);
		}
		assert_int_equal(all, 0xf);
		/* Those of one worker end: the others take what was theirs. */
		sock_close(server[1], false);
		sock_close(server[3], false);
		for (unsigned i = 0; i < FLOWS; i++)
			send_at(client[i], "10.0.0.2", PORT, "x", 1);
		world_run(w, 10 * MS, NULL, NULL);
		assert_int_equal(receive_all(server[0]) + receive_all(server[2]), FLOWS);
		sock_close(server[0], false);
		sock_close(server[2], false);
		close_all(client, FLOWS);
		world_free(w);
	}
}

/* Without SO_REUSEPORT, or bound to something else, the next one must live where the first one does. */
static void port__in_use_on_a_worker__is_that_workers(void **state)
{
	struct world *w = world_new_crew(2, &perfect, WORKERS, WORLD_RSS_TURN);
	struct sock *one = bound_on(w, 1, 1, "10.0.0.2", PORT, false), *other = open_on(w, 1, 0, false), *client, *shared[2];
	const struct cv_endpoint here = at("10.0.0.2", PORT), any = at("0.0.0.0", PORT);

	(void)state;
	assert_int_equal(sock_bind(other, &here), -CV_EXDEV);
	assert_int_equal(crew_udp_owner(w->host[1].e, &here, &any), 1);
	client = bound_on(w, 0, 0, "10.0.0.1", 5000, false);
	for (unsigned i = 0; i < 4; i++)
		send_at(client, "10.0.0.2", PORT, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(one), 4);
	sock_close(one, false);
	assert_int_equal(sock_bind(other, &here), 0); /* free again */
	sock_close(other, false);
	/* All share, but not the same: a datagram to 10.0.0.2 is the first one's, whatever it hashes to. */
	shared[0] = bound_on(w, 1, 1, "10.0.0.2", PORT, true);
	shared[1] = open_on(w, 1, 0, true);
	assert_int_equal(sock_bind(shared[1], &any), -CV_EXDEV);
	assert_int_equal(sock_bind(shared[1], &here), 0);
	close_all(shared, 2);
	sock_close(client, false);
	world_free(w);
}

/* One that shares the port and has a peer gets all of that peer's, and nobody else's. */
static void reuseport__with_a_peer__gets_its_datagrams_wherever_they_hash(void **state)
{
	struct world *w = world_new_crew(3, &perfect, WORKERS, WORLD_RSS_TURN);
	struct sock *open = bound_on(w, 1, 0, "10.0.0.2", PORT, true), *client[FLOWS], *own[FLOWS];

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++) {
		const struct cv_endpoint peer = at("10.0.0.1", (uint16_t)(5000 + i));

		client[i] = bound_on(w, 0, 0, "10.0.0.1", peer.port, false);
		own[i] = bound_on(w, 1, i % WORKERS, "10.0.0.2", PORT, true);
		if (i % 4 < 3)
			assert_int_equal(sock_connect(own[i], &peer), 0);
		else
			sock_close(own[i], false);
	}
	send_at(client[3], "10.0.0.2", PORT, "x", 1); /* the neighbour */
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(open), 1);
	for (unsigned i = 0; i < FLOWS; i++)
		send_at(client[i], "10.0.0.2", PORT, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	for (unsigned i = 0; i < FLOWS; i++) {
		if (i % 4 < 3) {
			assert_int_equal(receive_all(own[i]), 1);
			sock_close(own[i], false);
		}
		sock_close(client[i], false);
	}
	assert_int_equal(receive_all(open), FLOWS / 4);
	for (unsigned k = 0; k < WORKERS; k++)
		assert_int_equal(w->host[1].crew->pins[k].n, 0);
	sock_close(open, false);
	assert_int_equal(crew_udp_workers(w->host[1].e, PORT), 0);
	world_free(w);
}

static int to_device(struct sock *sk, const char *name)
{
	return sock_setopt(sk, CV_OPT_BINDTODEVICE, name, (uint32_t)strlen(name) + 1);
}

/* Each worker gets the datagrams that hash to it: if one's sockets took another port's only, they were lost. */
static void reuseport__bound_to_a_device_later__not_while_others_share_it(void **state)
{
	struct world *w = world_new_crew(8, &perfect, WORKERS, WORLD_RSS_TURN);
	struct sock *one = bound_on(w, 1, 0, "10.0.0.2", PORT, true), *two = bound_on(w, 1, 1, "10.0.0.2", PORT, true), *alike;
	const struct cv_endpoint here = at("10.0.0.2", PORT), any = at("0.0.0.0", PORT);
	const char *name = "cv0";

	(void)state;
	memcpy(w->host[1].port.name, name, 4);
	memcpy(w->host[1].more[0].port.name, name, 4);
	assert_int_equal(to_device(two, name), -CV_EBUSY);
	assert_int_equal(to_device(two, "nowhere"), -CV_ENODEV);
	assert_int_equal(to_device(two, ""), 0); /* nothing new */
	sock_close(one, false);
	assert_int_equal(to_device(two, name), 0); /* it has the port alone: others come to its worker now */
	one = open_on(w, 1, 0, true);
	assert_int_equal(sock_bind(one, &here), -CV_EXDEV);
	assert_int_equal(to_device(one, name), 0);
	assert_int_equal(sock_bind(one, &here), -CV_EXDEV);
	alike = open_on(w, 1, 1, true);
	assert_int_equal(sock_bind(alike, &here), 0);
	sock_close(alike, false);
	sock_close(two, false);
	/* Before they are bound all can have the same. */
	two = open_on(w, 1, 1, true);
	assert_int_equal(to_device(two, name), 0);
	assert_int_equal(sock_bind(two, &here), 0);
	assert_int_equal(sock_bind(one, &here), 0);
	assert_int_equal(crew_udp_workers(w->host[1].e, PORT), 3);
	/* Nor may one that takes something else join them, on either. */
	for (uint16_t k = 0; k < WORKERS; k++) {
		alike = open_on(w, 1, k, true);
		assert_int_equal(sock_bind(alike, &any), -CV_EXDEV);
		assert_int_equal(sock_bind(alike, &here), -CV_EXDEV); /* by any device */
		sock_close(alike, false);
	}
	sock_close(one, false);
	sock_close(two, false);
	world_free(w);
}

/* A connect that fails leaves the peer that there was, and what comes from it still comes. */
static void reuseport__another_connect_fails__the_peer_stays(void **state)
{
	struct world *w = world_new_crew(7, &perfect, WORKERS, WORLD_RSS_TURN);
	const struct cv_endpoint nowhere = at("192.0.2.1", 9);
	struct sock *open = bound_on(w, 1, 0, "10.0.0.2", PORT, true), *client[FLOWS], *own[FLOWS];

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++) {
		const struct cv_endpoint peer = at("10.0.0.1", (uint16_t)(5000 + i));

		client[i] = bound_on(w, 0, 0, "10.0.0.1", peer.port, false);
		own[i] = bound_on(w, 1, i % WORKERS, "10.0.0.2", PORT, true);
		assert_int_equal(sock_connect(own[i], &peer), 0);
		assert_int_equal(sock_connect(own[i], &nowhere), -CV_ENETUNREACH);
	}
	send_at(client[0], "10.0.0.2", 9, "x", 1); /* the neighbour */
	world_run(w, SECOND, NULL, NULL);
	for (unsigned i = 0; i < FLOWS; i++)
		send_at(client[i], "10.0.0.2", PORT, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_int_equal(receive_all(own[i]), 1);
	assert_int_equal(receive_all(open), 0);
	/* To the same peer once more: it is pinned once. */
	assert_int_equal(sock_connect(own[0], &own[0]->peer), 0);
	close_all(own, FLOWS);
	for (unsigned k = 0; k < WORKERS; k++)
		assert_int_equal(w->host[1].crew->pins[k].n, 0);
	close_all(client, FLOWS);
	sock_close(open, false);
	world_free(w);
}

/* Its port brings the answers by its own queue, from a device with RSS; an error finds it on any worker. */
static void connect__on_any_worker__answers_and_errors_come_back(void **state)
{
	(void)state;
	for (unsigned q = 0; q < 3; q++) {
		for (uint16_t k = 0; k < WORKERS; k++) {
			struct world *w = world_new_crew(4, &perfect, WORKERS, queues[q]);
			struct sock *server = bound_on(w, 1, 0, "10.0.0.2", PORT, false), *sk = open_on(w, 0, k, false);
			const struct cv_endpoint to = at("10.0.0.2", PORT), nobody = at("10.0.0.2", PORT + 1);

			assert_int_equal(sock_connect(sk, &to), 0);
			assert_true(crew_is_mine(sk->engine, &sk->local, &sk->peer));
			assert_int_equal(try_send(sk, NULL, "ask", 3), 0);
			world_run(w, SECOND, NULL, NULL);
			assert_int_equal(receive_all(server), 1);
			send_at(server, "10.0.0.1", sk->local.port, "answer", 6);
			world_run(w, SECOND, NULL, NULL);
			assert_int_equal(receive_all(sk), 1);
			assert_int_equal(sock_connect(sk, &nobody), 0);
			assert_int_equal(try_send(sk, NULL, "x", 1), 0);
			world_run(w, SECOND, NULL, NULL);
			assert_int_equal(sk->error, CV_ECONNREFUSED);
			sock_close(sk, false);
			sock_close(server, false);
			world_free(w);
		}
	}
}

/* Members on each worker: routers hear of the group from the first one, every member gets what is sent there. */
static void group__members_on_all_workers__each_gets_it(void **state)
{
	(void)state;
	for (unsigned q = 0; q < 3; q++) {
		struct world *w = world_new_crew(5, &perfect, WORKERS, queues[q]);
		struct sock *member[3], *client = bound_on(w, 0, 1, "10.0.0.1", 5000, false);
		struct cv_mreq r = {.ifindex = 1};
		uint64_t reports;

		memcpy(r.group, at("239.1.2.3", 0).addr, 16);
		member[0] = bound_on(w, 1, 1, "0.0.0.0", PORT, true);
		member[1] = bound_on(w, 1, 1, "0.0.0.0", PORT, true);
		member[2] = bound_on(w, 1, 0, "0.0.0.0", PORT, true);
		reports = COUNT(w, 1, mcast_reports_out);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(sock_setopt(member[i], CV_OPT_MCAST_JOIN, &r, sizeof(r)), 0);
		world_run(w, 10 * SECOND, NULL, NULL);
		assert_true(COUNT(w, 1, mcast_reports_out) > reports);
		assert_int_equal(world_engine(&w->host[1], 1)->counters.mcast_reports_out, 0);
		send_at(client, "239.1.2.3", PORT, "to all", 6);
		world_run(w, SECOND, NULL, NULL);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(receive_all(member[i]), 1);
		/* The last one goes: the group is left. */
		reports = COUNT(w, 1, mcast_reports_out);
		close_all(member, 3);
		world_run(w, 10 * SECOND, NULL, NULL);
		assert_true(COUNT(w, 1, mcast_reports_out) > reports);
		sock_close(client, false);
		world_free(w);
	}
}

/* From one worker's socket to another's of the same engine, to one and to a group. */
static void loopback__between_workers__arrives(void **state)
{
	struct world *w = world_new_crew(6, &perfect, WORKERS, WORLD_RSS_ONE);
	struct sock *a = bound_on(w, 0, 0, "10.0.0.1", 5000, false), *b = bound_on(w, 0, 1, "0.0.0.0", PORT, false);
	struct sock *c = bound_on(w, 0, 0, "0.0.0.0", 5001, false);
	struct cv_mreq r = {.ifindex = 1};

	(void)state;
	memcpy(r.group, at("239.1.2.3", 0).addr, 16);
	assert_int_equal(sock_setopt(b, CV_OPT_MCAST_JOIN, &r, sizeof(r)), 0);
	world_run(w, SECOND, NULL, NULL);
	send_at(a, "10.0.0.1", PORT, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(b), 1);
	send_at(b, "10.0.0.1", 5000, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(a), 1);
	send_at(b, "239.1.2.3", PORT, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(b), 1);
	/* To a member on another worker, the sender's own having none; and to a group that nobody has joined. */
	assert_int_equal(sock_setopt(b, CV_OPT_MCAST_LEAVE, &r, sizeof(r)), 0);
	assert_int_equal(sock_setopt(c, CV_OPT_MCAST_JOIN, &r, sizeof(r)), 0);
	world_run(w, SECOND, NULL, NULL);
	send_at(b, "239.1.2.3", 5001, "x", 1);
	send_at(b, "239.1.2.4", 5001, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(receive_all(c), 1);
	sock_close(a, false);
	sock_close(c, false);
	sock_close(b, false);
	world_free(w);
}

static uint32_t draw(uint64_t *s, uint32_t below)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return (uint32_t)(*s >> 20) % below;
}

/* Whatever sockets on whatever workers do with a few ports: when all are closed, every port is nobody's and no flow is
 * pinned. */
static void ports__of_many_workers__are_free_in_the_end(void **state)
{
	static const char *const addrs[] = {"0.0.0.0", "10.0.0.1", "::", "2001:db8::1", "239.1.2.3"};
	enum { MANY = 40, K = 3 };
	unsigned pinned = 0, spread = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world *w = world_new_crew(seed, &perfect, K, WORLD_RSS_HASH);
		struct sock *sk[MANY] = {NULL};
		uint64_t s = seed * 7919;

		for (uint16_t k = 0; k < K; k++) {
			struct engine *e = world_engine(&w->host[0], k);
			struct port *port = net_port_by_ifindex(e, 1);

			memcpy(port->addr[1].addr, at("2001:db8::1", 0).addr, 16);
			port->addr[1].prefix = 64;
			port->addrs_n = 2;
			assert_int_equal(net_port_changed(e, port), 0);
		}
		for (unsigned i = 0; i < 4000; i++) {
			struct sock **one = &sk[draw(&s, MANY)];
			const char *name;
			struct cv_endpoint ep =
				at(addrs[draw(&s, 5)], (uint16_t)(draw(&s, 4) ? 7000 + draw(&s, 5) : 0));
			struct cv_endpoint to =
				at(draw(&s, 2) ? "10.0.0.2" : "2001:db8::2", (uint16_t)(9 + draw(&s, 3)));

			if (*one == NULL) {
				assert_int_equal(sock_open(world_engine(&w->host[0], (uint16_t)draw(&s, K)),
							 draw(&s, 2) ? CV_AF_INET : CV_AF_INET6, CV_DGRAM, one),
					0);
				(*one)->user = w;
				(*one)->reuseport = draw(&s, 2) != 0;
				(*one)->reuseaddr = draw(&s, 4) == 0;
				(*one)->v6only = draw(&s, 4) == 0;
				continue;
			}
			switch (draw(&s, 8)) {
			case 0:
				sock_close(*one, false);
				*one = NULL;
				break;
			case 1:
				(void)sock_disconnect(*one);
				break;
			case 2:
			case 3:
				(void)sock_connect(*one, &to);
				break;
			case 4:
				(void)try_send(*one, draw(&s, 2) ? &to : NULL, "x", 1);
				break;
			case 5:
				name = draw(&s, 2) ? w->host[0].port.name : "";
				(void)sock_setopt(*one, CV_OPT_BINDTODEVICE, name, (uint32_t)strlen(name));
				break;
			default:
				(void)sock_bind(*one, &ep);
				break;
			}
			if (draw(&s, 20) == 0)
				world_run(w, MS, NULL, NULL);
			for (uint16_t k = 0; k < K; k++)
				pinned += w->host[0].crew->pins[k].n > 0;
			for (uint16_t port = 7000; port < 7005; port++)
				spread += crew_udp_is_spread(w->host[0].e, port);
		}
		for (unsigned i = 0; i < MANY; i++) {
			if (sk[i] != NULL)
				sock_close(sk[i], false);
		}
		for (uint32_t port = 0; port <= UINT16_MAX; port++)
			assert_int_equal(w->host[0].crew->udp_ports[port], 0);
		for (unsigned k = 0; k < K; k++)
			assert_int_equal(w->host[0].crew->pins[k].n, 0);
		world_run(w, 100 * SECOND, NULL, NULL);
		world_free(w);
	}
	assert_true(pinned > 1000 && spread > 1000); /* it was not about nothing */
}

/* The same of groups: what sockets join, filter and leave anywhere, with the link going and coming, leaves nothing
 * behind. */
static void groups__of_many_workers__are_left_in_the_end(void **state)
{
	enum { MANY = 20, K = 3 };
	static const enum cv_option ops[] = {CV_OPT_MCAST_JOIN, CV_OPT_MCAST_LEAVE, CV_OPT_MCAST_JOIN_SOURCE,
		CV_OPT_MCAST_LEAVE_SOURCE, CV_OPT_MCAST_BLOCK_SOURCE, CV_OPT_MCAST_UNBLOCK_SOURCE,
		CV_OPT_MCAST_FILTER_SOURCE, CV_OPT_MCAST_FILTER};

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world *w = world_new_crew(seed, &perfect, K, WORLD_RSS_HASH);
		struct sock *sk[MANY] = {NULL};
		uint32_t before[K];
		uint64_t s = seed * 104729;

		world_run(w, 10 * SECOND, NULL, NULL);
		for (uint16_t k = 0; k < K; k++)
			before[k] = world_engine(&w->host[0], k)->net->mcast_groups.used;
		for (unsigned i = 0; i < 4000; i++) {
			struct sock **one = &sk[draw(&s, MANY)];
			struct cv_mreq r = {.ifindex = draw(&s, 2)};
			char text[40];

			if (*one == NULL) {
				*one = open_on(w, 0, (uint16_t)draw(&s, K), true);
				continue;
			}
			snprintf(text, sizeof(text), "239.0.0.%u", draw(&s, 5));
			memcpy(r.group, at(text, 0).addr, 16);
			snprintf(text, sizeof(text), "10.0.0.%u", 10 + draw(&s, 80));
			memcpy(r.source, at(text, 0).addr, 16);
			if (draw(&s, 30) == 0) {
				sock_close(*one, false);
				*one = NULL;
			} else {
				enum cv_option op = ops[draw(&s, 8)];

				if (op == CV_OPT_MCAST_FILTER) {
					r.source[CV_MCAST_NUMBER_AT] = (uint8_t)draw(&s, 3);
					r.source[CV_MCAST_MODE_AT] = (uint8_t)draw(&s, 2);
				}
				(void)sock_setopt(*one, op, &r, sizeof(r));
			}
			if (draw(&s, 20) == 0)
				world_run(w, draw(&s, 1000) * MS, NULL, NULL);
			if (draw(&s, 200) == 0) {
				struct port *port = &w->host[0].port;

				(port->up ? net_port_down : net_port_up)(w->host[0].e, port);
			}
		}
		for (unsigned i = 0; i < MANY; i++) {
			if (sk[i] != NULL)
				sock_close(sk[i], false);
		}
		world_run(w, 20 * SECOND, NULL, NULL);
		for (uint16_t k = 0; k < K; k++) {
			const struct net *net = world_engine(&w->host[0], k)->net;

			assert_int_equal(net->mcast_groups.used, before[k]);
			assert_int_equal(net->mcast_members.used, 0);
			assert_int_equal(net->mcast_socks.used, 0);
		}
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reuseport__on_all_workers__flows_are_spread_and_stay),
		cmocka_unit_test(port__in_use_on_a_worker__is_that_workers),
		cmocka_unit_test(reuseport__with_a_peer__gets_its_datagrams_wherever_they_hash),
		cmocka_unit_test(reuseport__bound_to_a_device_later__not_while_others_share_it),
		cmocka_unit_test(reuseport__another_connect_fails__the_peer_stays),
		cmocka_unit_test(connect__on_any_worker__answers_and_errors_come_back),
		cmocka_unit_test(group__members_on_all_workers__each_gets_it),
		cmocka_unit_test(loopback__between_workers__arrives),
		cmocka_unit_test(ports__of_many_workers__are_free_in_the_end),
		cmocka_unit_test(groups__of_many_workers__are_left_in_the_end),
	};

	world_eal_init("crew_udp");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
