/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP Fast Open (RFC7413): data in the SYN, allowed by a cookie that the server gave to the client's address before.
 *
 * Server: a SYN with a valid cookie makes the connection at once, in SYN-RECEIVED and in the accept queue; how many may be so
 * at a time the user says (TCP_FASTOPEN). Client: connect() on a socket with TCP_FASTOPEN_CONNECT sends nothing while a cookie
 * is known; the first data goes with the SYN. Data that the SYN-ACK does not acknowledge is data that was not sent.
 *
 * Owns: cookies of both sides, the count of a listener's pending connections. Does not own: the SYN itself (tcp_segment.c).
 * Called by: tcp_listen.c, tcp_steps.c, tcp_user.c, tcp_segment.c, tcp_state.c.
 */
#include <string.h>

#include "stack/tcp/tcp.h"

enum { FO_CLIENT = 1, FO_SERVER = 2, FO_CLIENT_NO_COOKIE = 4, FO_SERVER_NO_COOKIE = 0x200, FO_ALL_LISTENERS = 0x400 };

#define COOKIE_BYTES 8u
#define RESET_HOLDS (60 * SEC)    /* RFC7413:5.1: a reset connection counts on for so long */
#define BLACKHOLE_BASE (60 * SEC) /* after the second SYN that was lost with data, doubling */
#define BLACKHOLE_SHIFT_MAX 6u

/* --- server */

static void cookie_make(struct engine *e, const struct cv_endpoint *client, uint8_t out[COOKIE_BYTES])
{
	uint64_t w[3] = {0, 0, 7413}, mac;

	memcpy(w, client->addr, 16);
	mac = siphash(&e->tcp->secret, w, 3);
	memcpy(out, &mac, COOKIE_BYTES);
}

void tcp_fastopen_cookie_give(struct engine *e, const struct cv_endpoint *client, struct wire_tcp *h)
{
	h->has_fo = true;
	h->fo_n = COOKIE_BYTES;
	cookie_make(e, client, h->fo);
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

static bool cookie_is_valid(struct engine *e, const struct tcp_seg *s, const struct pkt *p)
{
	uint8_t wanted[COOKIE_BYTES];

	if (e->tcp->config.fastopen & FO_SERVER_NO_COOKIE)
		return true;
	cookie_make(e, &p->src, wanted);
	return s->h.has_fo && s->h.fo_n == COOKIE_BYTES && memcmp(s->h.fo, wanted, COOKIE_BYTES) == 0;
}

enum tcp_fastopen tcp_fastopen_look(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p)
{
	struct engine *e = lp->sk.engine;

	if (!(e->tcp->config.fastopen & FO_SERVER) || !(s->h.has_fo || s->len > 0) || !queue_has_room(e, lp))
		return TCP_FASTOPEN_NONE;
	if (cookie_is_valid(e, s, p))
		return TCP_FASTOPEN_NOW;
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
	tp->fastopen_waits = (peer != NULL && peer->cookie_n > 0) || (e->tcp->config.fastopen & FO_CLIENT_NO_COOKIE);
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
