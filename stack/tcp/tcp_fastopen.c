/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP Fast Open (RFC7413): data in the SYN, allowed by a cookie that the server gave to the
 * client's address before.
 *
 * Server: a SYN with a valid cookie makes the connection at once, in SYN-RECEIVED and in the accept
 * queue; how many may be so at a time the user says (TCP_FASTOPEN). Client: connect() on a socket
 * with TCP_FASTOPEN_CONNECT sends nothing while a cookie is known; the first data goes with the
 * SYN. Data that the SYN-ACK does not acknowledge is data that was not sent.
 *
 * Owns: cookies of both sides and servers' keys, the count of a listener's pending connections.
 * Does not own: the SYN itself (tcp_segment.c). Called by: tcp_listen.c, tcp_steps.c, tcp_user.c,
 * tcp_segment.c, tcp_state.c.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

enum {
	FO_CLIENT = 1,
	FO_SERVER = 2,
	FO_CLIENT_NO_COOKIE = 4,
	FO_SERVER_NO_COOKIE = 0x200,
	FO_ALL_LISTENERS = 0x400
};

#define COOKIE_BYTES 8u
#define RESET_HOLDS (60 * SEC)    /* RFC7413:5.1: a reset connection counts on for so long */
#define BLACKHOLE_BASE (60 * SEC) /* after the second SYN that was lost with data, doubling */
#define BLACKHOLE_SHIFT_MAX 6u

/* --- server */

void tcp_fastopen_init(struct tcp *t)
{
	t->fastopen = (struct tcp_fastopen_keys){.n = 1,
		.key[0] = {siphash(&t->secret, (uint64_t[]){7413}, 1),
			siphash(&t->secret, (uint64_t[]){7413, 1}, 2)}};
}

/* Of a socket by their number, which is one more than their place in the pool. */
static struct tcp_fastopen_keys *keys_of(const struct tcp_sock *tp)
{
	struct tcp *t = tp->sk.engine->tcp;

	return tp->fastopen_keys == 0 ? &t->fastopen
				      : (void *)(t->fastopen_keys.objects +
						 (tp->fastopen_keys - 1) * t->fastopen_keys.size);
}

int tcp_fastopen_keys_set(struct tcp_sock *tp, const void *value, uint32_t len)
{
	struct pool *pool = &tp->sk.engine->tcp->fastopen_keys;
	struct tcp_fastopen_keys *keys;

	if (len != CV_FASTOPEN_KEY_BYTES && len != CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES)
		return -CV_EINVAL;
	if (tp->fastopen_keys == 0) {
		keys = pool_get(pool);
		if (keys == NULL)
			return -CV_ENOMEM;
		tp->fastopen_keys =
			(uint32_t)((size_t)((uint8_t *)keys - pool->objects) / pool->size) + 1;
	}
	keys = keys_of(tp);
	keys->n = len / CV_FASTOPEN_KEY_BYTES;
	memcpy(keys->key, value, len);
	return 0;
}

uint32_t tcp_fastopen_keys_get(
	const struct tcp_sock *tp, uint8_t out[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES])
{
	const struct tcp_fastopen_keys *keys = keys_of(tp);

	if (tp->fastopen_keys == 0)
		return 0;
	memcpy(out, keys->key, keys->n * CV_FASTOPEN_KEY_BYTES);
	return keys->n * CV_FASTOPEN_KEY_BYTES;
}

void tcp_fastopen_keys_drop(struct tcp_sock *tp)
{
	if (tp->fastopen_keys != 0)
		pool_put(&tp->sk.engine->tcp->fastopen_keys, keys_of(tp));
	tp->fastopen_keys = 0;
}

/* Over both addresses as they are on the wire, so that Linux's servers with the same key make and
 * take the same. */
static void cookie_make(const struct siphash_key *key, const struct cv_endpoint *server,
	const struct cv_endpoint *client, uint8_t out[COOKIE_BYTES])
{
	uint8_t ends[2 * ADDR_BYTES];
	uint64_t w[sizeof(ends) / 8], mac;
	size_t bytes = addr_is_v4(client->addr) ? 4 : ADDR_BYTES;

	addr_to_wire(ends, client->addr);
	addr_to_wire(ends + ADDR_BYTES, server->addr);
	memcpy(w, ends + ADDR_BYTES - bytes, bytes);
	memcpy((uint8_t *)w + bytes, ends + 2 * ADDR_BYTES - bytes, bytes);
	mac = siphash(key, w, 2 * bytes / 8);
	memcpy(out, &mac, COOKIE_BYTES);
}

void tcp_fastopen_cookie_give(const struct tcp_sock *lp, const struct cv_endpoint *server,
	const struct cv_endpoint *client, struct wire_tcp *h)
{
	h->has_fo = true;
	h->fo_n = COOKIE_BYTES;
	cookie_make(&keys_of(lp)->key[0], server, client, h->fo);
}

static bool queue_has_room(struct engine *e, struct tcp_sock *lp)
{
	struct tcp_listener *l = tcp_listening(lp);
	uint32_t most = lp->fastopen_queue;

	if (most == 0 && (e->tcp->config.fastopen & FO_ALL_LISTENERS))
		most = l->accepts.backlog;
	if (l->fastopen_resets > 0 && e->now_ns - l->fastopen_reset_ns > RESET_HOLDS)
		l->fastopen_resets = 0;
	return l->fastopen_n + l->fastopen_resets < most;
}

/* Which of lp's keys it was made with; CV_FASTOPEN_KEYS_MAX: none. */
static uint32_t cookie_key(const struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p)
{
	const struct tcp_fastopen_keys *keys = keys_of(lp);
	uint8_t wanted[COOKIE_BYTES];

	for (uint32_t i = 0; s->h.has_fo && s->h.fo_n == COOKIE_BYTES && i < keys->n; i++) {
		cookie_make(&keys->key[i], &p->dst, &p->src, wanted);
		if (memcmp(s->h.fo, wanted, COOKIE_BYTES) == 0)
			return i;
	}
	return CV_FASTOPEN_KEYS_MAX;
}

enum tcp_fastopen tcp_fastopen_look(
	struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p)
{
	struct engine *e = lp->sk.engine;
	uint32_t key;

	if (!(e->tcp->config.fastopen & FO_SERVER) || !(s->h.has_fo || s->len > 0) ||
		!queue_has_room(e, lp))
		return TCP_FASTOPEN_NONE;
	if (e->tcp->config.fastopen & FO_SERVER_NO_COOKIE)
		return TCP_FASTOPEN_NOW;
	key = cookie_key(lp, s, p);
	if (key < CV_FASTOPEN_KEYS_MAX)
		return key == 0 ? TCP_FASTOPEN_NOW : TCP_FASTOPEN_RENEW;
	return s->h.has_fo ? TCP_FASTOPEN_COOKIE : TCP_FASTOPEN_NONE;
}

void tcp_fastopen_begin(struct tcp_sock *lp, struct tcp_sock *tp, struct tcp_seg *s)
{
	tp->fastopen = 1;
	tp->sk.accepts = lp->sk.accepts;
	tcp_listening(lp)->fastopen_n++;
	lp->sk.engine->counters.tcp_fastopen_in++;
	s->seq = s->h.seq + 1;
	tp->syn_data_acked = s->len > 0;
	if (s->len > 0)
		(void)tcp_receive_data(tp, s);
}

void tcp_fastopen_end(struct tcp_sock *tp, bool reset)
{
	struct tcp_listener *l = tcp_listening(tp);

	if (l == NULL || tp->state == TCP_LISTEN)
		return;
	l->fastopen_n--;
	if (reset) {
		l->fastopen_resets++;
		l->fastopen_reset_ns = tp->sk.engine->now_ns;
	}
	if (l->closed && l->fastopen_n == 0)
		pool_put(&tp->sk.engine->tcp->listeners, l);
	tp->sk.accepts = NULL;
}

/* --- client */

static struct tcp_fastopen_peer *peer_slot(struct tcp_sock *tp)
{
	struct tcp *t = tp->sk.engine->tcp;
	uint64_t w[2];

	memcpy(w, tp->sk.peer.addr, 16);
	return &t->fastopen_peers[siphash13(&t->key, w, 2, 0) % TCP_FASTOPEN_PEERS];
}

static struct tcp_fastopen_peer *peer_of(struct tcp_sock *tp)
{
	struct tcp_fastopen_peer *peer = peer_slot(tp);

	return memcmp(peer->addr, tp->sk.peer.addr, 16) == 0 ? peer : NULL;
}

/* Some middle boxes swallow SYNs with data. */
static bool is_blackhole(const struct engine *e, const struct tcp_fastopen_peer *peer)
{
	uint32_t shift = peer->losses < BLACKHOLE_SHIFT_MAX ? peer->losses : BLACKHOLE_SHIFT_MAX;

	return peer->losses > 1 && e->now_ns - peer->lost_ns < BLACKHOLE_BASE << shift;
}

bool tcp_fastopen_is_offered(const struct engine *e)
{
	return (e->tcp->config.fastopen & FO_CLIENT) != 0;
}

void tcp_fastopen_connect(struct tcp_sock *tp)
{
	const struct engine *e = tp->sk.engine;
	const struct tcp_fastopen_peer *peer;

	if (!tp->fastopen_connect || !tcp_fastopen_is_offered(e))
		return;
	peer = peer_of(tp);
	if (peer != NULL && is_blackhole(e, peer))
		return;
	tp->fastopen = 1;
	tp->fastopen_waits = (peer != NULL && peer->cookie_n > 0) ||
			     (e->tcp->config.fastopen & FO_CLIENT_NO_COOKIE);
}

static void lost(struct tcp_sock *tp)
{
	struct tcp_fastopen_peer *peer = peer_of(tp);

	if (peer == NULL)
		return;
	if (peer->losses < UINT8_MAX)
		peer->losses++;
	peer->lost_ns = tp->sk.engine->now_ns;
}

uint32_t tcp_fastopen_syn(struct tcp_sock *tp, struct wire_tcp *h)
{
	const struct tcp_fastopen_peer *peer;
	uint32_t mss = tcp_mss_default(tp->sk.peer.addr), n = tp->snd_end - (tp->iss + 1);

	if (!tp->fastopen)
		return 0;
	peer = peer_of(tp);
	if (tp->backoff > 0) { /* RFC7413:4.1.3: again without, and without data */
		if (tp->backoff == 1 && seq_gt(tp->snd_max, tp->iss + 1))
			lost(tp);
		return 0;
	}
	h->has_fo = !(tp->sk.engine->tcp->config.fastopen & FO_CLIENT_NO_COOKIE);
	if (peer != NULL && peer->cookie_n > 0) {
		h->has_fo = true;
		h->fo_n = peer->cookie_n;
		memcpy(h->fo, peer->cookie, peer->cookie_n);
		mss = peer->mss;
	}
	if (!tp->fastopen_waits)
		return 0;
	if (mss > tp->mss + (tp->ts_ok ? 12 : 0))
		mss = tp->mss + (tp->ts_ok ? 12 : 0);
	mss -= WIRE_TCP_BYTES_MAX - WIRE_TCP_BYTES_MIN; /* as many options as there can be */
	n = n < mss ? n : mss;
	tp->sk.engine->counters.tcp_fastopen_out += n > 0;
	return n;
}

void tcp_fastopen_learn(struct tcp_sock *tp, const struct wire_tcp *h)
{
	struct tcp_fastopen_peer *peer;
	bool known;

	if (!tp->fastopen)
		return;
	peer = peer_slot(tp);
	known = memcmp(peer->addr, tp->sk.peer.addr, 16) == 0;
	tp->syn_data_acked = seq_gt(h->ack, tp->iss + 1);
	if (h->has_fo && h->fo_n > 0) {
		if (!known)
			*peer = (struct tcp_fastopen_peer){0};
		memcpy(peer->addr, tp->sk.peer.addr, 16);
		memcpy(peer->cookie, h->fo, h->fo_n);
		peer->cookie_n = h->fo_n;
		known = true;
	}
	if (!known)
		return;
	peer->mss = tp->peer_mss > 100 ? tp->peer_mss : 100;
	if (tp->syn_data_acked)
		peer->losses = 0;
}
