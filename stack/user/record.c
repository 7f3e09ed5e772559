/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records: a socket's life in the segment, from the free list and back, and the publishing of what
 * the protocol's side says. Invariant: what a word of the record says was true when it was
 * written, and words that belong together are written in an order in which a reader who loads
 * status or rx_produced first (acquire) sees the rest.
 */
#include <string.h>

#include "stack/user/priv.h"

struct user_sock *user_sock_alloc(struct user_group *g)
{
	struct user_sock *us;
	uint16_t gen;

	if (g->socks_free_n > USER_REUSE_DISTANCE ||
		(g->socks_free_n > 0 && g->socks_fresh == g->socks_end)) {
		us = &g->socks[g->socks_free_head];
		g->socks_free_head = us->free_next;
		g->socks_free_n--;
		if (g->socks_free_n == 0)
			g->socks_free_tail = USER_NONE;
	} else if (g->socks_fresh < g->socks_end) {
		us = &g->socks[g->socks_fresh];
		us->index = g->socks_fresh++;
	} else {
		return NULL;
	}
	gen = us->gen;
	*us = (struct user_sock){.g = g,
		.index = us->index,
		.gen = gen,
		.handle = CV_SOCK_HANDLE(us->index, gen),
		.flags = us->flags & US_NOTIFY_LISTED,
		.notify_next = us->notify_next,
		.watches = USER_NONE};
	list_init(&us->pending);
	g->socks_n++;
	return us;
}

void user_sock_unalloc(struct user_sock *us)
{
	struct user_group *g = us->g;

	us->sk = NULL;
	us->gen = (uint16_t)((us->gen + 1) & CV_SOCK_GEN_MASK);
	us->handle = CV_SOCK_NONE;
	us->flags &= US_NOTIFY_LISTED;
	us->free_next = USER_NONE;
	if (g->socks_free_n > 0)
		g->socks[g->socks_free_tail].free_next = us->index;
	else
		g->socks_free_head = us->index;
	g->socks_free_tail = us->index;
	g->socks_free_n++;
	g->socks_n--;
}

struct user_sock *user_sock_find(struct user_group *g, uint32_t handle)
{
	uint32_t index = CV_SOCK_INDEX(handle);
	struct user_sock *us;

	if (index == 0 || index >= g->socks_fresh)
		return NULL;
	us = &g->socks[index];
	return us->sk && us->handle == handle ? us : NULL;
}

void user_sock_start(struct user_sock *us, struct sock *sk)
{
	struct cv_sock *rec = &us->g->records[us->index];

	us->sk = sk;
	sk->user = us;
	us->tx_taken = us->tx_acked = 0;
	memset(rec, 0, sizeof(*rec));
	rec->family = sk->family;
	rec->type = sk->type;
	rec->worker = (uint8_t)us->g->u->e->worker;
	rec->rcvlowat = 1;
	SEG_STORE(&rec->handle, us->handle);
	us->error_seq = sk->error_seq;
	user_sock_refresh(us);
}

void user_sock_end(struct user_sock *us, bool abort)
{
	struct user_group *g = us->g;
	struct cv_sock *rec = &g->records[us->index];
	struct sock *sk = us->sk;

	/* Connections that nobody took end with their listener. Who closed it, only the first worker knows. */
	if (us->flags & US_REPLICA)
		user_untold_keep(us);
	while (!list_empty(&us->pending))
		user_sock_end(list_entry(list_first(&us->pending), struct user_sock, pending_node),
			true);
	if (us->listener)
		user_rx_accepted(us);
	if (us->flags & US_REPLICA)
		list_del(&us->pending_node);
	user_replicas_end(us);
	user_watch_drop_sock(us);
	user_chunk_close(us);
	user_rx_end(us);
	sk->user = NULL;
	sock_close(sk, abort || (us->flags & US_TX_BROKEN));
	SEG_STORE(&rec->status, CV_ST_DEAD | CV_ST_RX_EOF);
	SEG_STORE_RELEASE(&rec->handle, CV_SOCK_NONE);
	user_sock_unalloc(us);
	g->epoch++;
	g->rx_freed = true;
}

/* What the protocol still has of what we gave it is not acknowledged; all the rest is, also what it
 * refused: the program must not wait for it. */
void user_sock_publish_tx(struct user_sock *us)
{
	uint64_t acked = us->tx_taken - (us->sk->tx_taken - us->sk->tx_acked);

	if (acked == us->tx_acked)
		return;
	us->tx_acked = acked;
	SEG_STORE_RELEASE(&us->g->records[us->index].tx_acked, acked);
	user_notify(us, US_TX_MOVED);
}

void user_sock_publish_names(struct user_sock *us)
{
	struct cv_sock *rec = &us->g->records[us->index];
	struct cv_endpoint local, peer; /* whole before they are seen: mostly they are what stands there */

	sock_endpoint_out(&local, &us->sk->local);
	sock_endpoint_out(&peer, &us->sk->peer);
	rec->local = local;
	rec->peer = peer;
	rec->v6only = us->sk->v6only;
}

static void publish_connected(struct user_sock *us, struct cv_sock *rec)
{
	int mss = 0;
	uint32_t len = sizeof(mss);

	if (us->sk->type == CV_STREAM &&
		sock_getopt(us->sk, CV_OPT_MAXSEG, &mss, &len) == 0 && len == sizeof(mss))
		SEG_STORE(&rec->mss, (uint32_t)mss);
}

static void publish_buffers(struct user_sock *us, struct cv_sock *rec)
{
	const struct sock *sk = us->sk;

	if (sk->sndbuf != us->sndbuf) {
		us->sndbuf = sk->sndbuf;
		SEG_STORE(&rec->sndbuf, sk->sndbuf);
		user_notify(us, US_TX_MOVED);
	}
	if (sk->rcvbuf != us->rcvbuf) {
		us->rcvbuf = sk->rcvbuf;
		SEG_STORE(&rec->rcvbuf, sk->rcvbuf);
	}
	if ((sk->status & CV_ST_URGENT) && us->rx_base + sk->rx_urgent_pos != us->rx_urgent) {
		us->rx_urgent = us->rx_base + sk->rx_urgent_pos;
		SEG_STORE(&rec->rx_urgent_pos, us->rx_urgent);
		user_notify(us, US_CHANGED);
	}
}

/* Always, without a copy of ours to compare with: only sockets with a bound pay for it. */
static void publish_unsent(struct user_sock *us, struct cv_sock *rec)
{
	uint32_t lowat = 0, unsent = sock_unsent(us->sk, &lowat);

	SEG_STORE(&rec->tx_sent, us->tx_taken - unsent);
	SEG_STORE_RELEASE(&rec->notsent_lowat, lowat);
	user_notify(us, US_TX_MOVED);
}

void user_sock_refresh(struct user_sock *us)
{
	struct sock *sk = us->sk;
	struct cv_sock *rec = &us->g->records[us->index];
	uint32_t status;

	user_rx_pull(us);
	user_sock_publish_tx(us);
	publish_buffers(us, rec);
	if (sk->lowat)
		publish_unsent(us, rec);
	status = sk->status;
	/* The end comes after the last byte, wherever that waits. */
	if ((status & CV_ST_RX_EOF) && !user_rx_is_drained(us))
		status &= ~(uint32_t)(CV_ST_RX_EOF | CV_ST_FIN);
	if (sk->error_seq != us->error_seq) {
		us->error_seq = sk->error_seq;
		SEG_STORE(&rec->error, sk->error);
		SEG_STORE_RELEASE(&rec->error_seq, us->error_seq);
		user_notify(us, US_CHANGED);
	}
	if (status == us->status)
		return;
	user_sock_publish_names(us);
	if (status & ~us->status & CV_ST_CONNECTED)
		publish_connected(us, rec);
	us->status = status;
	SEG_STORE_RELEASE(&rec->status, status);
	user_notify(us, US_CHANGED);
}
