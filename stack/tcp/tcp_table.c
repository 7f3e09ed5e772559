/* SPDX-License-Identifier: BSD-3-Clause */
/* How connections and listeners are found; local ports (RFC6056); initial sequence numbers (RFC6528). */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/tcp/tcp.h"

#define PORTS_UNUSED_LOOKS 1024u /* for a port that no connection holds */

/* 4 bytes say all there is to say of a mapped address. */
static inline uint64_t v4_pair(const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	uint32_t a[2];

	memcpy(&a[0], local->addr + 12, 4);
	memcpy(&a[1], peer->addr + 12, 4);
	return (uint64_t)a[1] << 32 | a[0];
}

/* What a stranger may see: sequence numbers, timestamps. */
static uint64_t ends_secret(
	const struct tcp *t, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	uint64_t w[5], ports = (uint64_t)local->port << 16 | peer->port;

	if (cv_likely(addr_is_v4(local->addr))) {
		w[0] = v4_pair(local, peer);
		w[1] = ports;
		return siphash(&t->secret, w, 2);
	}
	memcpy(&w[0], local->addr, 16);
	memcpy(&w[2], peer->addr, 16);
	w[4] = ports;
	return siphash(&t->secret, w, 5);
}

uint32_t tcp_flow_hash(
	const struct tcp *t, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	uint32_t ports = (uint32_t)local->port << 16 | peer->port;
	uint64_t w[4];

	if (cv_likely(addr_is_v4(local->addr))) {
		w[0] = v4_pair(local, peer);
		return (uint32_t)siphash13(&t->key, w, 1, ports);
	}
	memcpy(&w[0], local->addr, 16);
	memcpy(&w[2], peer->addr, 16);
	return (uint32_t)siphash13(&t->key, w, 4, ports);
}

static bool endpoint_equal(const struct cv_endpoint *a, const struct cv_endpoint *b)
{
	return a->port == b->port && addr_equal(a->addr, b->addr);
}

/* Of one family; two addresses may share a slot, and then their connections are in each other's way. */
static unsigned use_slot(const uint8_t addr[16])
{
	return (addr_is_v4(addr) ? 0 : TCP_PORT_SLOTS / 2) + addr[15] % (TCP_PORT_SLOTS / 2);
}

static struct tcp_port_use *use_of(struct tcp *t, const struct cv_endpoint *local)
{
	return &t->ports[local->port].use[use_slot(local->addr)];
}

void tcp_flow_add(struct engine *e, struct sock_flow *f)
{
	struct tcp *t = e->tcp;
	struct tcp_port_use *use = use_of(t, &f->local);
	struct sock_flow **bucket = tcp_flow_bucket(t, f->hash);

	f->next = *bucket;
	*bucket = f;
	if (cv_unlikely(e->crew != NULL))
		crew_pin(e, &f->local, &f->peer);
	t->flows_gen++;
	use->all++;
	use->no_reuseaddr += !f->reuseaddr;
	use->no_reuseport += !f->reuseport;
}

void tcp_flow_del(struct engine *e, struct sock_flow *f)
{
	struct tcp_port_use *use = use_of(e->tcp, &f->local);
	struct sock_flow **at = tcp_flow_bucket(e->tcp, f->hash);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	if (cv_unlikely(e->crew != NULL))
		crew_unpin(e, &f->local, &f->peer);
	e->tcp->flows_gen++;
	use->all--;
	use->no_reuseaddr -= !f->reuseaddr;
	use->no_reuseport -= !f->reuseport;
}

void tcp_flow_replace(struct engine *e, struct sock_flow *old, struct sock_flow *by)
{
	struct sock_flow **at = tcp_flow_bucket(e->tcp, old->hash);
	uint8_t kind = by->kind;

	while (*at != old)
		at = &(*at)->next;
	*by = *old;
	by->kind = kind;
	*at = by;
	e->tcp->flows_gen++;
}

struct sock_flow *tcp_flow_at(const struct tcp *t, uint32_t hash, const struct cv_endpoint *local,
	const struct cv_endpoint *peer)
{
	struct sock_flow *f = *tcp_flow_bucket(t, hash);

	while (f != NULL && !(f->hash == hash && endpoint_equal(&f->peer, peer) && endpoint_equal(&f->local, local)))
		f = f->next;
	return f;
}

struct sock_flow *tcp_flow_find(
	struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	return tcp_flow_at(e->tcp, tcp_flow_hash(e->tcp, local, peer), local, peer);
}

struct tcp_numbers tcp_numbers(const struct engine *e, const struct cv_endpoint *l, const struct cv_endpoint *p)
{
	uint64_t secret = ends_secret(e->tcp, l, p);

	return (struct tcp_numbers){
		.iss = (uint32_t)(secret >> 32) + (uint32_t)(e->now_ns >> 12), /* 4 us ticks */
		.ts_offset = (uint32_t)secret};
}

static struct list *bind_bucket(struct tcp *t, uint16_t port)
{
	return &t->binds[port % TCP_BINDS];
}

enum { LISTENS_NOT, LISTENS_ANYWHERE, LISTENS_HERE };

/* Whether tp, of the same bucket, is who listens there: a specific address before the wildcard. */
static int listens(const struct tcp_sock *tp, const struct cv_endpoint *local)
{
	if (tp->state != TCP_LISTEN || tp->sk.local.port != local->port)
		return LISTENS_NOT;
	if (!addr_is_any(tp->sk.local.addr))
		return addr_equal(tp->sk.local.addr, local->addr) ? LISTENS_HERE : LISTENS_NOT;
	if (addr_is_v4(local->addr))
		return tp->sk.family == CV_AF_INET6 && tp->sk.v6only ? LISTENS_NOT : LISTENS_ANYWHERE;
	return tp->sk.family == CV_AF_INET ? LISTENS_NOT : LISTENS_ANYWHERE;
}

/* Of SO_REUSEPORT twins each has its part of the hashes. */
struct tcp_sock *tcp_listener_find(
	struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	struct list *bucket = bind_bucket(e->tcp, local->port);
	struct tcp_sock *best = NULL;
	int best_score = LISTENS_NOT;
	uint32_t twins = 0, which;

	list_for_each(node, bucket)
	{
		struct tcp_sock *tp = list_entry(node, struct tcp_sock, sk.node);
		int score = listens(tp, local);

		if (score > best_score) {
			best = tp;
			best_score = score;
			twins = 1;
		} else if (score != LISTENS_NOT && score == best_score) {
			twins++;
		}
	}
	if (twins <= 1)
		return best;
	which = (uint32_t)((uint64_t)tcp_flow_hash(e->tcp, local, peer) * twins >> 32);
	list_for_each(node, bucket)
	{
		best = list_entry(node, struct tcp_sock, sk.node);
		if (listens(best, local) == best_score && which-- == 0)
			break;
	}
	return best;
}

enum { TAKES_V4 = 1, TAKES_V6 = 2 };

/* Which families' packets reach a socket that is bound to addr. */
static unsigned takes(const struct sock *sk, const uint8_t addr[16])
{
	if (sk->family == CV_AF_INET || (addr_is_v4(addr) && !addr_is_any(addr)))
		return TAKES_V4;
	return addr_is_any(addr) && !sk->v6only ? TAKES_V4 | TAKES_V6 : TAKES_V6;
}

static bool addrs_overlap(
	const struct sock *a, const struct sock *b, const struct cv_endpoint *local)
{
	if ((takes(a, a->local.addr) & takes(b, local->addr)) == 0)
		return false;
	return addr_is_any(a->local.addr) || addr_is_any(local->addr) ||
		addr_equal(a->local.addr, local->addr);
}

/* Linux: SO_REUSEADDR on both lets them share unless one listens; SO_REUSEPORT on both always. But a port that nobody asked
 * for is one of its own (may_share: it was asked for). */
static bool port_conflict(struct tcp_sock *tp, const struct cv_endpoint *local, bool may_share)
{
	struct list *bucket = bind_bucket(tp->sk.engine->tcp, local->port);

	list_for_each(node, bucket)
	{
		struct tcp_sock *o = list_entry(node, struct tcp_sock, sk.node);

		if (o == tp || o->sk.local.port != local->port || !addrs_overlap(&o->sk, &tp->sk, local))
			continue;
		if (may_share && o->sk.reuseport && tp->sk.reuseport)
			continue;
		if (may_share && o->sk.reuseaddr && tp->sk.reuseaddr && o->state != TCP_LISTEN)
			continue;
		return true;
	}
	return false;
}

/* t: ours, or another worker's, whose counts are read as they are being written: bind may see them a moment late. */
static bool port_is_used_in(const struct tcp *t, const struct tcp_sock *tp, const struct cv_endpoint *local)
{
	const struct tcp_port *port = &t->ports[local->port];
	unsigned families = takes(&tp->sk, local->addr);

	for (unsigned slot = 0; slot < TCP_PORT_SLOTS; slot++) {
		const struct tcp_port_use *use = &port->use[slot];

		if (!(families & (slot < TCP_PORT_SLOTS / 2 ? TAKES_V4 : TAKES_V6)) ||
			(!addr_is_any(local->addr) && slot != use_slot(local->addr)))
			continue;
		if (__atomic_load_n(&use->all, __ATOMIC_RELAXED) > 0 &&
			!(tp->sk.reuseaddr && __atomic_load_n(&use->no_reuseaddr, __ATOMIC_RELAXED) == 0) &&
			!(tp->sk.reuseport && __atomic_load_n(&use->no_reuseport, __ATOMIC_RELAXED) == 0))
			return true;
	}
	return false;
}

/* Connections whose listener is gone, and TIME_WAITs, hold their port too, on their own address; on any worker. */
static bool port_is_used(const struct tcp_sock *tp, const struct cv_endpoint *local)
{
	const struct crew *c = tp->sk.engine->crew;

	for (unsigned k = 0; c != NULL && k < c->n; k++) {
		if (port_is_used_in(c->engines[k]->tcp, tp, local))
			return true;
	}
	return c == NULL && port_is_used_in(tp->sk.engine->tcp, tp, local);
}

bool tcp_port_is_listened(const struct tcp_sock *tp)
{
	list_for_each(node, bind_bucket(tp->sk.engine->tcp, tp->sk.local.port))
	{
		const struct tcp_sock *o = list_entry(node, struct tcp_sock, sk.node);

		if (o != tp && o->state == TCP_LISTEN && o->sk.local.port == tp->sk.local.port &&
			addrs_overlap(&o->sk, &tp->sk, &tp->sk.local) &&
			!(o->sk.reuseport && tp->sk.reuseport))
			return true;
	}
	return false;
}

void tcp_port_keep(struct tcp_sock *tp, const struct cv_endpoint *local)
{
	tp->sk.local = *local;
	tp->sk.status |= CV_ST_BOUND;
	list_del(&tp->sk.node);
	list_add_tail(bind_bucket(tp->sk.engine->tcp, local->port), &tp->sk.node);
}

/* The ports to choose from: the engine's, and within them those that the user wants (IP_LOCAL_PORT_RANGE). */
static uint32_t range_of(const struct tcp_sock *tp, uint32_t *first)
{
	const struct engine_tcp_config *c = &tp->sk.engine->tcp->config;
	uint32_t lo = c->local_port_first, hi = c->local_port_last;

	if (tp->port_first >= lo && tp->port_first <= hi)
		lo = tp->port_first;
	if (tp->port_last >= lo && tp->port_last <= hi)
		hi = tp->port_last;
	*first = lo;
	return hi >= lo ? hi - lo + 1 : 1;
}

/* One of our choice: of no other socket, and of no connection either where one is soon found. What connections left behind
 * holds ports for a minute; it keeps nobody from listening. */
static bool port_find(struct tcp_sock *tp, struct cv_endpoint *want)
{
	struct engine *e = tp->sk.engine;
	uint32_t first, n = range_of(tp, &first), from = (uint32_t)e->env.random64(e->env.ctx) % n; /* RFC6056:3.3.2 */

	for (uint32_t i = 0; i < PORTS_UNUSED_LOOKS + n; i++) {
		want->port = (uint16_t)(first + (from + i) % n);
		if (!port_conflict(tp, want, false) && (i >= PORTS_UNUSED_LOOKS || !port_is_used(tp, want)))
			return true;
	}
	return false;
}

int tcp_port_bind(struct tcp_sock *tp, const struct cv_endpoint *local)
{
	struct cv_endpoint want = *local;
	bool found;

	if (want.port == 0)
		found = port_find(tp, &want);
	else
		found = !port_conflict(tp, &want, true) && !port_is_used(tp, &want);
	if (!found)
		return -CV_EADDRINUSE;
	tcp_port_keep(tp, &want);
	return 0;
}

void tcp_port_unbind(struct tcp_sock *tp)
{
	list_del(&tp->sk.node);
}

/* No other connection between the same ends. */
static bool port_is_free(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	struct sock_flow *f;

	if (use_of(e->tcp, local)->all == 0)
		return true;
	f = tcp_flow_find(e, local, peer);
	return f == NULL || tcp_tw_yield(e, f);
}

/* Double-hash port selection (RFC6056:3.3.4): to a stranger the next port is a guess, to one peer the ports come one after
 * the other, so that each is used again as late as can be. */
uint16_t tcp_port_choose(struct tcp_sock *tp, const struct cv_endpoint *peer)
{
	struct engine *e = tp->sk.engine;
	struct cv_endpoint local = tp->sk.local;
	struct cv_endpoint nowhere = {0}; /* no port: no sequence number is made of this */
	uint32_t first, n = range_of(tp, &first), *next;
	uint64_t hash;

	memcpy(nowhere.addr, local.addr, 16);
	hash = ends_secret(e->tcp, &nowhere, peer);
	next = &e->tcp->next_port[(hash >> 32) % TCP_NEXT_PORTS];
	for (uint32_t i = 0; i < n; i++) {
		local.port = (uint16_t)(first + ((uint32_t)hash + (*next)++) % n);
		if (crew_is_mine(e, &local, peer) && !port_conflict(tp, &local, true) && port_is_free(e, &local, peer))
			return local.port;
	}
	return 0;
}
