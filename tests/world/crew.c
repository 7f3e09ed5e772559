/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several workers on one host (stack/core/crew.h): what comes in by whichever queue reaches the worker whose it is, and
 * the answer leaves. Sockets are the protocols' own here; what the programs' side adds is in user.c, which runs with
 * one and with two workers.
 */
#include "tests/world/net_common.h"

#include "stack/core/crew.h"
#include "stack/net/priv.h"
#include "stack/tcp/tcp.h"

#define WORKERS 2
#define BYTES 300000u

/* A listener on each worker, as the programs' side makes them. */
struct server {
	struct world *w;
	int host;
	struct sock *listener[WORKERS];
};

static struct sock *stream_new(struct engine *e)
{
	struct sock *sk;

	assert_int_equal(sock_open(e, CV_AF_INET, CV_STREAM, &sk), 0);
	return sk;
}

static void server_start(struct server *s, struct world *w, int host, uint16_t port)
{
	const struct cv_endpoint at = world_endpoint(host, port);

	*s = (struct server){.w = w, .host = host};
	for (uint16_t k = 0; k < WORKERS; k++) {
		s->listener[k] = stream_new(world_engine(&w->host[host], k));
		assert_int_equal(sock_bind(s->listener[k], &at), 0);
		assert_int_equal(sock_listen(s->listener[k], 64), 0);
	}
}

static void server_stop(struct server *s)
{
	for (uint16_t k = 0; k < WORKERS; k++)
		sock_close(s->listener[k], false);
}

static struct sock *server_accept(struct server *s, uint16_t worker)
{
	struct sock *sk = sock_accept(s->listener[worker]);

	if (sk != NULL)
		sock_accept_done(s->listener[worker]);
	return sk;
}

static uint64_t counted(struct world *w, int host, size_t offset)
{
	uint64_t sum = 0;

	for (uint16_t k = 0; k < w->host[host].workers; k++)
		sum += *(const uint64_t *)(const void *)((const char *)&world_engine(&w->host[host], k)->counters +
			offset);
	return sum;
}
#define COUNTED(w, host, name) counted(w, host, offsetof(struct engine_counters, name))

/* What one end sends, the other end must have: as much as it takes, with room made by reading. */
static void transfer(struct world *w, struct sock *from, struct sock *to, uint32_t bytes)
{
	static uint8_t data[BYTES], got[BYTES];
	unsigned released = 0;
	uint32_t have = 0;

	for (uint32_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(sock_send(from, world_txbuf(data, bytes, &released)), 0);
	for (unsigned i = 0; i < 100000 && have < bytes; i++) {
		world_run(w, MS, NULL, NULL);
		have += sock_recv_copy(to, got + have, bytes - have);
	}
	assert_int_equal(have, bytes);
	assert_memory_equal(got, data, bytes);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(released, 1);
}

/* From each worker of host 0 to host 1; returns how many of the connections each worker of host 1 got. */
static void connections_cross(struct world *w, unsigned connections, unsigned got[WORKERS])
{
	struct server s;
	const struct cv_endpoint to = world_endpoint(1, 80);

	server_start(&s, w, 1, 80);
	for (unsigned i = 0; i < connections; i++) {
		struct engine *e = world_engine(&w->host[0], (uint16_t)(i % WORKERS));
		struct sock *client = stream_new(e), *child = NULL;

		assert_int_equal(sock_connect(client, &to), 0);
		assert_true(crew_is_mine(e, &client->local, &client->peer));
		world_run(w, SECOND, NULL, NULL);
		assert_true(client->status & CV_ST_CONNECTED);
		for (uint16_t k = 0; k < WORKERS && child == NULL; k++) {
			child = server_accept(&s, k);
			got[k] += child != NULL;
		}
		assert_non_null(child);
		assert_true(crew_is_mine(child->engine, &child->local, &child->peer));
		transfer(w, client, child, BYTES);
		transfer(w, child, client, 1000);
		sock_close(client, false);
		sock_close(child, false);
		world_run(w, SECOND, NULL, NULL);
	}
	server_stop(&s);
}

static void streams__by_a_device_with_rss__need_no_hand_over(void **state)
{
	struct world *w = world_new_crew(1, &perfect, WORKERS, WORLD_RSS_HASH);
	unsigned got[WORKERS] = {0};

	(void)state;
	connections_cross(w, 8, got);
	assert_true(got[0] > 0 && got[1] > 0);
	/* Only the copies of ARP. */
	assert_true(COUNTED(w, 1, handed_over) < 10);
	world_free(w);
}

static void streams__by_a_device_with_one_queue__are_handed_over(void **state)
{
	struct world *w = world_new_crew(2, &perfect, WORKERS, WORLD_RSS_ONE);
	unsigned got[WORKERS] = {0};

	(void)state;
	connections_cross(w, 8, got);
	assert_true(got[0] > 0 && got[1] > 0);
	assert_true(COUNTED(w, 1, handed_over) > 100);
	assert_int_equal(world_engine(&w->host[1], 1)->counters.rx_packets, 0);
	assert_int_equal(COUNTED(w, 1, drop_handover), 0);
	world_free(w);
}

/* Order is lost on the way, nothing else. */
static void streams__by_any_queue__come_whole(void **state)
{
	struct world *w = world_new_crew(3, &perfect, WORKERS, WORLD_RSS_TURN);
	unsigned got[WORKERS] = {0};

	(void)state;
	connections_cross(w, 4, got);
	world_free(w);
}

static void streams__over_a_bad_link__come_whole(void **state)
{
	const struct world_link bad = {.delay_ns = MS, .loss = 30, .duplicate = 20, .reorder = 50,
		.reorder_ns = 3 * MS, .corrupt = 10};
	unsigned got[WORKERS] = {0};

	(void)state;
	for (uint64_t seed = 0; seed < 4; seed++) {
		struct world *w = world_new_crew(seed, &bad, WORKERS, seed % 2 ? WORLD_RSS_ONE : WORLD_RSS_TURN);
		struct server s;
		const struct cv_endpoint to = world_endpoint(1, 80);
		struct sock *client = stream_new(world_engine(&w->host[0], 1)), *child = NULL;

		server_start(&s, w, 1, 80);
		assert_int_equal(sock_connect(client, &to), 0);
		for (unsigned i = 0; i < 30 && child == NULL; i++) {
			world_run(w, SECOND, NULL, NULL);
			child = server_accept(&s, 0);
			if (child == NULL)
				child = server_accept(&s, 1);
		}
		assert_non_null(child);
		transfer(w, client, child, BYTES);
		sock_close(client, true);
		sock_close(child, true);
		server_stop(&s);
		world_free(w);
	}
	(void)got;
}

/* As many packets as the ring has room for are not lost; the others are, counted, and TCP sends them again. */
static void hand_over__with_a_full_ring__drops_and_counts_and_goes_on(void **state)
{
	struct world *w = world_new_crew(4, &perfect, WORKERS, WORLD_RSS_ONE);
	struct server s;
	const struct cv_endpoint to = world_endpoint(1, 80);
	struct sock *client = NULL, *child = NULL;
	struct engine *asleep = world_engine(&w->host[1], 1);
	uint64_t lost;

	(void)state;
	server_start(&s, w, 1, 80);
	for (uint16_t k = 0; child == NULL; k ^= 1) {
		if (client != NULL)
			sock_close(client, true);
		client = stream_new(world_engine(&w->host[0], k));
		assert_int_equal(sock_connect(client, &to), 0);
		world_run(w, SECOND, NULL, NULL);
		child = server_accept(&s, 1);
	}
	/* A stranger's segments for that worker, which does not run meanwhile. */
	for (unsigned i = 0; i < CREW_PACKETS + 100; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);

		assert_non_null(m);
		memset(rte_pktmbuf_append(m, 20), 0, 20);
		memset(pkt_of(m), 0, sizeof(struct pkt));
		pkt_of(m)->proto = IPPROTO_TCP;
		crew_hand_over(w->host[1].e, 1, m, CREW_PARSED);
	}
	assert_int_equal(COUNT(w, 1, drop_handover), 100);
	lost = COUNT(w, 1, drop_handover);
	assert_true(crew_pending(asleep));
	transfer(w, client, child, BYTES);
	assert_int_equal(COUNT(w, 1, drop_handover), lost);
	sock_close(client, true);
	sock_close(child, true);
	server_stop(&s);
	world_free(w);
}

/* A program that binds before it connects leaves no choice of the port: worker 0 keeps the flow wherever it hashes. */
static void connect__from_a_port_of_the_programs__stays_with_worker_0(void **state)
{
	struct world *w = world_new_crew(5, &perfect, WORKERS, WORLD_RSS_HASH);
	struct server s;
	const struct cv_endpoint to = world_endpoint(1, 80);
	unsigned elsewhere = 0;

	(void)state;
	server_start(&s, w, 1, 80);
	for (uint16_t port = 5000; port < 5008; port++) {
		const struct cv_endpoint from = world_endpoint(0, port);
		struct sock *client = stream_new(w->host[0].e), *child;

		assert_int_equal(sock_bind(client, &from), 0);
		assert_int_equal(sock_connect(client, &to), 0);
		elsewhere += !crew_is_mine(w->host[0].e, &client->local, &client->peer);
		world_run(w, SECOND, NULL, NULL);
		assert_true(client->status & CV_ST_CONNECTED);
		child = server_accept(&s, 0);
		if (child == NULL)
			child = server_accept(&s, 1);
		assert_non_null(child);
		transfer(w, child, client, 100000);
		/* Ours is the TIME_WAIT, which must get its segments, too. */
		sock_close(client, false);
		world_run(w, SECOND, NULL, NULL);
		sock_close(child, false);
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(COUNTED(w, 0, tcp_rst_out), 0);
	}
	assert_true(elsewhere > 0);
	assert_int_equal(w->host[0].crew->pins[0].n, elsewhere);
	world_run(w, 120 * SECOND, NULL, NULL);
	assert_int_equal(w->host[0].crew->pins[0].n, 0);
	server_stop(&s);
	world_free(w);
}

static void loopback__between_workers__carries_a_stream(void **state)
{
	struct world *w = world_new_crew(6, &perfect, WORKERS, WORLD_RSS_HASH);
	struct server s;
	const struct cv_endpoint to = world_endpoint(0, 80);
	bool crossed = false;

	(void)state;
	server_start(&s, w, 0, 80);
	/* From chosen ports: these are worker 0's, and their servers' ends are where the hash says. */
	for (uint16_t port = 6000; port < 6004; port++) {
		const struct cv_endpoint from = world_endpoint(0, port);
		struct sock *client = stream_new(w->host[0].e), *child;

		assert_int_equal(sock_bind(client, &from), 0);
		assert_int_equal(sock_connect(client, &to), 0);
		world_run(w, SECOND, NULL, NULL);
		child = server_accept(&s, 0);
		if (child == NULL) {
			child = server_accept(&s, 1);
			crossed = true;
		}
		assert_non_null(child);
		transfer(w, client, child, BYTES);
		transfer(w, child, client, BYTES);
		sock_close(client, true);
		sock_close(child, true);
	}
	assert_true(crossed);
	server_stop(&s);
	world_free(w);
}

/* A worker that has never heard of a neighbour asks, and its answer comes in by another's queue. */
static void neighbours__are_everybodys(void **state)
{
	struct world *w = world_new_crew(7, &perfect, WORKERS, WORLD_RSS_ONE);
	unsigned got[WORKERS] = {0};

	(void)state;
	connections_cross(w, 2, got);
	assert_true(world_engine(&w->host[0], 1)->counters.arp_requests_out >= 1);
	assert_int_equal(world_engine(&w->host[0], 1)->counters.arp_replies_out, 0);
	assert_int_equal(world_engine(&w->host[1], 1)->counters.arp_replies_out, 0);
	world_free(w);
}

/* All hear of what all must know; it is counted once. */
static void neighbours__what_all_hear__is_counted_once(void **state)
{
	struct world *w = world_new_crew(12, &perfect, WORKERS, WORLD_RSS_TURN);
	uint8_t claim[42] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 0, 1};

	(void)state;
	memcpy(claim + 32, claim, 6);
	memcpy(claim + 38, claim + 28, 4);
	for (unsigned i = 0; i < 4; i++) { /* somebody says that our address is its */
		world_inject(w, 0, claim, sizeof(claim));
		world_run(w, 60 * SECOND, NULL, NULL);
	}
	assert_int_equal(COUNTED(w, 0, addr_conflicts), 4);
	claim[14] = 9;
	for (unsigned i = 0; i < 4; i++)
		world_inject(w, 0, claim, sizeof(claim));
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(COUNTED(w, 0, drop_arp), 4);
	world_free(w);
}

static uint16_t path_mtu(struct engine *e, const char *to)
{
	struct ip_path path = {0};
	uint8_t src[16] = {0};

	assert_int_equal(ip_path_resolve(e, &path, at(to, 0).addr, src), 0);
	return path.pmtu;
}

/* The worker whose flow an error is about takes it; the path is everybody's. */
/* A frame with a priority tag is one without (802.1Q): its ARP, too, is told to each worker once. */
static void neighbours__in_a_frame_with_a_priority_tag__are_told_once(void **state)
{
	uint8_t f[64] = {
		[12] = 0x81, [14] = 0x60, [16] = 8, [17] = 6, [19] = 1, [20] = 8, [22] = 6, [23] = 4, [25] = 1};

	(void)state;
	for (uint16_t workers = 2; workers <= 3; workers++) {
		struct world *w = world_new_crew(20, &perfect, workers, WORLD_RSS_ONE);
		uint64_t before[3], after[3];

		memset(f, 0xff, 6);
		memcpy(f + 6, (const uint8_t[]){2, 0, 0, 0, 0, 9}, 6);
		memcpy(f + 26, f + 6, 6);
		memcpy(f + 32, at("10.0.0.9", 0).addr + 12, 4);
		memcpy(f + 42, at("10.0.0.1", 0).addr + 12, 4);
		world_run(w, SECOND, NULL, NULL);
		for (uint16_t k = 0; k < workers; k++)
			before[k] = world_engine(&w->host[0], k)->counters.handed_over;
		world_inject(w, 0, f, sizeof(f));
		for (unsigned i = 0; i < 10; i++) { /* turns: it would never be quiet */
			for (uint16_t k = 0; k < workers; k++)
				engine_turn(world_engine(&w->host[0], k), w->now_ns);
		}
		for (uint16_t k = 0; k < workers; k++) {
			struct engine *e = world_engine(&w->host[0], k);

			after[k] = e->counters.handed_over;
			assert_int_equal(after[k] - before[k], k == 0 ? workers - 1u : 0);
			assert_non_null(neigh_find(e->net, net_port_by_ifindex(e, 1), at("10.0.0.9", 0).addr));
		}
		world_free(w);
	}
}

/* The first worker tests addresses; one that is somebody else's is no worker's, and all make the same one in the place
 * of an address that was made of a router's prefix. */
static void address__of_somebody_else__is_no_workers(void **state)
{
	struct world *w = world_new_crew(21, &perfect, WORKERS, WORLD_RSS_ONE);
	uint8_t claim[42] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 0, 1};
	const uint8_t prefix[16] = {0x20, 1, 0xd, 0xb8, 0, 9};
	uint8_t made[WORKERS][16], first[16], frame[128],
		na[32] = {136, [4] = 0x20, [24] = 2, [25] = 1, 2, 0, 0, 0, 0, 9};
	char text[INET6_ADDRSTRLEN];

	(void)state;
	world_run(w, SECOND, NULL, NULL);
	for (uint16_t k = 0; k < WORKERS; k++) {
		struct engine *e = world_engine(&w->host[0], k);
		struct port *port = net_port_by_ifindex(e, 1);

		net_port_down(e, port);
		port->dad4 = port->dad6 = port->autoconf6 = true;
		assert_int_equal(net_port_changed(e, port), 0);
		net_port_up(e, port);
		slaac_prefix(e, port, prefix, 86400, 86400);
		for (unsigned i = 0; i < e->net->addrs_n; i++) {
			if (e->net->addrs[i].origin == ADDR_AUTOCONF)
				memcpy(first, e->net->addrs[i].addr, 16);
		}
	}
	world_inject(w, 0, claim, sizeof(claim));
	memcpy(na + 8, first, 16);
	inet_ntop(AF_INET6, first, text, sizeof(text));
	put16(na + 2, l4_sum(text, "ff02::1", IPPROTO_ICMPV6, na, 32));
	world_inject(w, 0, frame, frame6(frame, w, 0, text, "ff02::1", IPPROTO_ICMPV6, 255, na, 32));
	world_run(w, 20 * SECOND, NULL, NULL);
	for (uint16_t k = 0; k < WORKERS; k++) {
		struct engine *e = world_engine(&w->host[0], k);

		assert_false(ip_is_local(e, at("10.0.0.1", 0).addr));
		assert_false(ip_is_local(e, first));
		assert_non_null(net_address_made(e, 0, made[k]));
	}
	assert_memory_equal(made[0], made[1], 16);
	assert_int_equal(COUNTED(w, 0, addr_duplicates), 2);
	/* The link comes again, and nobody has it any more. */
	for (uint16_t k = 0; k < WORKERS; k++) {
		struct engine *e = world_engine(&w->host[0], k);

		net_port_down(e, net_port_by_ifindex(e, 1));
		net_port_up(e, net_port_by_ifindex(e, 1));
	}
	world_run(w, 20 * SECOND, NULL, NULL);
	for (uint16_t k = 0; k < WORKERS; k++)
		assert_true(ip_is_local(world_engine(&w->host[0], k), at("10.0.0.1", 0).addr));
	world_free(w);
}

static void path_mtu__learned_by_one__is_known_to_all(void **state)
{
	struct world *w = world_new_crew(9, &perfect, WORKERS, WORLD_RSS_HASH);

	(void)state;
	ip_pmtu_learn(world_engine(&w->host[0], 1), at("10.0.0.2", 0).addr, 1300);
	assert_int_equal(path_mtu(world_engine(&w->host[0], 1), "10.0.0.2"), 1300);
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.2"), 1500);
	world_run(w, MS, NULL, NULL);
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.2"), 1300);
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.3"), 1500);
	world_run(w, 700 * SECOND, NULL, NULL); /* RFC1191:6.3 */
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.2"), 1500);
	world_free(w);
}

static uint32_t messages_sent(const struct world *w, uint16_t from, uint16_t to)
{
	return spsc_tail(&w->host[0].crew->messages[from * WORKERS + to]);
}

/* Routers say the same again and again, and peers can make them: the others hear of it once, and no
 * path is resolved again. */
static void path_mtu__said_again__is_no_news(void **state)
{
	struct world *w = world_new_crew(10, &perfect, WORKERS, WORLD_RSS_HASH);
	struct engine *e = world_engine(&w->host[0], 1);
	struct ip_path path = {0};
	uint8_t src[16] = {0}, dst[16];

	(void)state;
	memcpy(dst, at("10.0.0.2", 0).addr, 16);
	ip_pmtu_learn(e, dst, 1300);
	assert_int_equal(messages_sent(w, 1, 0), 1);
	world_run(w, MS, NULL, NULL);
	assert_int_equal(ip_path_resolve(w->host[0].e, &path, dst, src), 0);
	for (unsigned i = 0; i < 2 * CREW_MESSAGES; i++)
		ip_pmtu_learn(e, dst, (uint16_t)(1300 + i % 100));
	assert_int_equal(messages_sent(w, 1, 0), 1);
	world_run(w, MS, NULL, NULL);
	assert_true(ip_path_is_valid(w->host[0].e, &path));
	ip_pmtu_learn(e, dst, 1200); /* less: news */
	assert_int_equal(messages_sent(w, 1, 0), 2);
	/* Said again in the second half of its ten minutes it stays, with all of them, and nobody
	 * resolves anything. */
	world_run(w, 400 * SECOND, NULL, NULL);
	(void)engine_turn(e, w->now_ns);
	assert_int_equal(ip_path_resolve(w->host[0].e, &path, dst, src), 0);
	ip_pmtu_learn(e, dst, 1200);
	assert_int_equal(messages_sent(w, 1, 0), 3);
	ip_pmtu_learn(e, dst, 1200);
	assert_int_equal(messages_sent(w, 1, 0), 3);
	world_run(w, MS, NULL, NULL);
	assert_true(ip_path_is_valid(w->host[0].e, &path));
	world_run(w, 400 * SECOND, NULL, NULL);
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.2"), 1200);
	world_run(w, 300 * SECOND, NULL, NULL);
	assert_int_equal(path_mtu(w->host[0].e, "10.0.0.2"), 1500);
	assert_int_equal(path_mtu(e, "10.0.0.2"), 1500);
	ip_pmtu_learn(e, dst, 1300); /* what had expired is news */
	assert_int_equal(messages_sent(w, 1, 0), 4);
	world_free(w);
}

static int join(struct sock *sk, const char *group, enum cv_option option)
{
	struct cv_mreq r = {.ifindex = 1};

	memcpy(r.group, at(group, 0).addr, 16);
	return sock_setopt(sk, option, &r, sizeof(r));
}

/* A worker that stands still: what waits for it is bounded, what would begin something is refused,
 * what ends something is not, and the third worker hears at once. */
static void messages__to_a_worker_that_stands_still__are_bounded(void **state)
{
	struct world *w = world_new_crew(11, &perfect, 3, WORLD_RSS_HASH);
	struct engine *e = world_engine(&w->host[0], 1), *first = w->host[0].e;
	const struct crew_message msg = {.kind = CREW_NET};
	struct sock *sk;

	(void)state;
	assert_int_equal(sock_open(e, CV_AF_INET, CV_DGRAM, &sk), 0);
	sk->user = w;
	assert_int_equal(join(sk, "239.1.1.1", CV_OPT_MCAST_JOIN), 0);
	for (unsigned i = 1; i < CREW_MESSAGES + CREW_UNSENT_MAX; i++)
		assert_true(crew_send(e, 0, &msg));
	assert_int_equal(e->counters.drop_message, 0);
	assert_false(crew_has_room(e));
	for (unsigned i = 0; i < 10; i++)
		assert_false(crew_send(e, 0, &msg));
	assert_int_equal(e->counters.drop_message, 10);
	assert_int_equal(join(sk, "239.1.1.2", CV_OPT_MCAST_JOIN), -CV_ENOBUFS);
	assert_int_equal(join(sk, "239.1.1.1", CV_OPT_MCAST_LEAVE), 0);
	assert_true(crew_send(e, 2, &msg));
	assert_int_equal(spsc_tail(&w->host[0].crew->messages[1 * 3 + 2]), 1);
	assert_int_equal(e->unsent_n, CREW_UNSENT_MAX + 1);
	world_run(w, MS, NULL, NULL);
	assert_int_equal(e->unsent_n, 0);
	assert_int_equal(
		spsc_tail(&w->host[0].crew->messages[1 * 3]), CREW_MESSAGES + CREW_UNSENT_MAX + 1);
	assert_int_equal(e->counters.drop_message, 10);
	assert_int_equal(join(sk, "239.1.1.2", CV_OPT_MCAST_JOIN), 0);
	world_run(w, MS, NULL, NULL);
	assert_true(crew_has_room(first));
	sock_close(sk, false);
	world_free(w);
}

/* Whole and in parts, and what nobody has: the same answer as of one worker. */
static void datagrams__by_any_queue__arrive(void **state)
{
	static const enum world_rss kinds[] = {WORLD_RSS_ONE, WORLD_RSS_TURN};
	static char big[20000], got[20000];

	(void)state;
	memset(big, 'x', sizeof(big));
	for (unsigned i = 0; i < 2; i++) {
		struct world *w = world_new_crew(8, &perfect, WORKERS, kinds[i]);
		struct sock *a = udp_at(w, 0, "10.0.0.1", 1000), *b = udp_at(w, 1, "10.0.0.2", 2000);
		const struct cv_endpoint nobody = world_endpoint(1, 2001);

		for (unsigned k = 0; k < 8; k++) {
			send_at(a, "10.0.0.2", 2000, "small", 5);
			send_at(a, "10.0.0.2", 2000, big, sizeof(big));
			world_run(w, SECOND, NULL, NULL);
			assert_int_equal(sock_recv_copy(b, got, sizeof(got)), 5);
			assert_int_equal(sock_recv_copy(b, got, sizeof(got)), sizeof(big));
			assert_memory_equal(got, big, sizeof(big));
		}
		assert_int_equal(sock_connect(a, &nobody), 0);
		assert_int_equal(try_send(a, NULL, "x", 1), 0);
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(a->error, CV_ECONNREFUSED);
		sock_close(a, false);
		sock_close(b, false);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams__by_a_device_with_rss__need_no_hand_over),
		cmocka_unit_test(streams__by_a_device_with_one_queue__are_handed_over),
		cmocka_unit_test(streams__by_any_queue__come_whole),
		cmocka_unit_test(streams__over_a_bad_link__come_whole),
		cmocka_unit_test(hand_over__with_a_full_ring__drops_and_counts_and_goes_on),
		cmocka_unit_test(connect__from_a_port_of_the_programs__stays_with_worker_0),
		cmocka_unit_test(loopback__between_workers__carries_a_stream),
		cmocka_unit_test(neighbours__are_everybodys),
		cmocka_unit_test(neighbours__what_all_hear__is_counted_once),
		cmocka_unit_test(neighbours__in_a_frame_with_a_priority_tag__are_told_once),
		cmocka_unit_test(address__of_somebody_else__is_no_workers),
		cmocka_unit_test(path_mtu__learned_by_one__is_known_to_all),
		cmocka_unit_test(path_mtu__said_again__is_no_news),
		cmocka_unit_test(messages__to_a_worker_that_stands_still__are_bounded),
		cmocka_unit_test(datagrams__by_any_queue__arrive),
	};

	world_eal_init("crew");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
