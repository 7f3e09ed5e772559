/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Send buffers: from a SEND on a lane to the completion that gives the buffer's memory back to the
 * program. The bytes stay in the lane's arena and are never copied here; what a program does to
 * them meanwhile is its own affair.
 *
 * Invariant: buffers under way and completions not yet taken never exceed the completion ring.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/user/priv.h"

static bool lane_has_room(struct user_lane *l, uint32_t comp_head)
{
	uint32_t untaken = l->comp_tail - comp_head;

	return untaken <= l->g->geo.comp_entries &&
		l->busy + untaken < l->g->geo.comp_entries;
}

bool user_lane_has_room(struct user_lane *l)
{
	uint32_t head = SEG_LOAD(&l->shared->comp_head);

	l->blocked_comp_head = head;
	return lane_has_room(l, head);
}

void user_completion_post(struct user_lane *l, uint64_t off)
{
	struct user_group *g = l->g;

	if (l->state != LANE_OPEN)
		return;
	SEG_STORE(&l->comps[l->comp_tail & (g->geo.comp_entries - 1)], off);
	l->comp_tail++;
	SEG_STORE_RELEASE(&l->shared->comp_tail, l->comp_tail);
	user_lane_moved(l);
}

/* The last reference to the bytes is gone. */
static void txbuf_released(struct txbuf *b, void *ctx)
{
	struct user_txbuf *ub = (struct user_txbuf *)b;
	struct user_lane *l = ctx;
	uint64_t off = b->cookie;

	l->busy--;
	l->busy_bytes -= b->len;
	l->g->busy--;
	ub->next = l->free_bufs;
	l->free_bufs = ub;
	l->blocked = false;
	user_completion_post(l, off);
	if (l->state == LANE_EMPTYING)
		user_lane_settle(l);
}

int user_txbufs_init(struct user_lane *l)
{
	uint32_t n = l->g->geo.comp_entries;

	if (l->bufs)
		return 0;
	l->bufs = calloc(n, sizeof(*l->bufs));
	if (!l->bufs)
		return -1;
	return 0;
}

/* Memory that no burst needed stays untouched. NULL: all are under way, which the completion ring forbids. */
static struct user_txbuf *txbuf_get_free(struct user_lane *l)
{
	struct user_txbuf *ub = l->free_bufs;

	if (ub) {
		l->free_bufs = ub->next;
		return ub;
	}
	return l->bufs_fresh < l->g->geo.comp_entries ? &l->bufs[l->bufs_fresh++] : NULL;
}

static int txbuf_queue(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	struct user_txbuf *ub = txbuf_get_free(l);
	const uint8_t *bytes = l->g->seg + cmd->off;
	struct cv_send_with with;
	int r;

	if (!ub)
		return -CV_ENOBUFS;
	if (cmd->flags & CV_F_WITH) {
		memcpy(&with, bytes, sizeof(with));
		bytes += sizeof(with);
	}
	ub->b = (struct txbuf){.data = bytes,
		.len = cmd->len,
		.flags = cmd->flags & (CV_F_MORE | CV_F_URGENT),
		.release = txbuf_released,
		.ctx = l,
		.cookie = cmd->off};
	if (us->sk->type == CV_DGRAM && cmd->family != CV_AF_NONE) {
		ub->b.has_peer = true;
		ub->b.peer = cmd->peer;
	}
	if (cmd->flags & CV_F_WITH)
		ub->b.with = &with;
	l->busy++;
	l->busy_bytes += cmd->len;
	l->g->busy++;
	r = sock_send(us->sk, &ub->b);
	if (r == 0) /* and perhaps released already */
		return 0;
	l->busy--;
	l->busy_bytes -= cmd->len;
	l->g->busy--;
	ub->next = l->free_bufs;
	l->free_bufs = ub;
	return r;
}

void user_chunk_close(struct user_sock *us)
{
	if (us->chunk)
		us->chunk->us = NULL;
	us->chunk = NULL;
}

static void chunk_released(struct txbuf *b, void *ctx)
{
	struct user_chunk *c = ctx;
	struct user_group *g = c->g;

	(void)b;
	if (c->us)
		c->us->chunk = NULL;
	pool_put(&g->chunks, c);
	g->busy--;
}

static int chunk_begin(struct user_sock *us, const uint8_t *bytes, uint32_t n, uint32_t flags)
{
	struct user_group *g = us->g;
	struct user_chunk *c = pool_get(&g->chunks);
	int r;

	if (!c)
		return -CV_ENOBUFS;
	*c = (struct user_chunk){.g = g, .us = us};
	c->b = (struct txbuf){
		.data = c->data, .len = n, .flags = flags, .release = chunk_released, .ctx = c};
	memcpy(c->data, bytes, n);
	g->busy++;
	r = sock_send(us->sk, &c->b);
	if (r != 0) {
		pool_put(&g->chunks, c);
		g->busy--;
		return r;
	}
	user_chunk_close(us);
	us->chunk = c;
	return 0;
}

/* -CV_ENOBUFS: no chunk is free. */
static int chunk_send(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	const uint8_t *bytes = l->g->seg + cmd->off;
	uint32_t flags = cmd->flags & CV_F_MORE;
	struct user_chunk *c = us->chunk;
	int r;

	if (c && c->b.len + cmd->len <= USER_CHUNK_BYTES) {
		memcpy(c->data + c->b.len, bytes, cmd->len);
		if (sock_extend(us->sk, &c->b, cmd->len, flags) == 0) {
			user_completion_post(l, cmd->off);
			return 0;
		}
	}
	r = chunk_begin(us, bytes, cmd->len, flags);
	if (r == 0)
		user_completion_post(l, cmd->off);
	return r;
}

static bool is_small(const struct user_sock *us, const struct cv_command *cmd)
{
	return us->sk->type == CV_STREAM && cmd->len <= USER_COPY_MAX && !(cmd->flags & CV_F_URGENT);
}

/* Tells the program why its bytes went nowhere. A stream that is over has said why already, and a
 * race of close with send is not news. A stream that is alive must not lose bytes in the middle:
 * from then on it only ends by RST. */
static void send_failed(struct user_sock *us, int result)
{
	struct sock *sk = us->sk;

	if (sk->type == CV_STREAM) {
		if (sk->status & (CV_ST_DEAD | CV_ST_TX_SHUT))
			return;
		if (sk->status & (CV_ST_CONNECTED | CV_ST_CONNECTING))
			us->flags |= US_TX_BROKEN;
	}
	sock_set_error(sk, (enum cv_error)-result);
}

int user_send(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	int r = us->flags & US_TX_BROKEN ? -CV_EPIPE : -CV_ENOBUFS;

	if (r == -CV_ENOBUFS && is_small(us, cmd))
		r = chunk_send(l, us, cmd);
	if (r == -CV_ENOBUFS) {
		user_chunk_close(us); /* what follows comes behind this one */
		r = txbuf_queue(l, us, cmd);
	}

	us->tx_taken += cmd->len;
	l->g->epoch++;
	if (r != 0) {
		if (cmd->seq == 0) /* else the program hears it now */
			send_failed(us, r);
		user_completion_post(l, cmd->off);
	}
	/* A datagram may have left already, or failed. */
	user_sock_refresh(us);
	return r;
}
