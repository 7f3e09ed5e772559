/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Send buffers: from a SEND on a lane to the completion that gives the buffer's memory back to the
 * program. The bytes stay in the lane's arena and are never copied here; what a program does to
 * them meanwhile is its own affair.
 *
 * Invariant: buffers under way and completions not yet taken never exceed the completion ring.
 */
#include <stdlib.h>

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
	user_lane_completed(l);
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
	/* The first is given out first: memory that no burst needed stays untouched. */
	for (uint32_t i = n; i-- > 0;) {
		l->bufs[i].next = l->free_bufs;
		l->free_bufs = &l->bufs[i];
	}
	return 0;
}

static int txbuf_queue(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	struct user_txbuf *ub = l->free_bufs;
	int r;

	l->free_bufs = ub->next;
	ub->b = (struct txbuf){.data = l->g->seg + cmd->off,
		.len = cmd->len,
		.flags = cmd->flags & (CV_F_MORE | CV_F_URGENT),
		.release = txbuf_released,
		.ctx = l,
		.cookie = cmd->off};
	if (us->sk->type == CV_DGRAM && cmd->family != CV_AF_NONE) {
		ub->b.has_peer = true;
		ub->b.peer = cmd->peer;
	}
	l->busy++;
	l->busy_bytes += cmd->len;
	l->g->busy++;
	r = sock_send(us->sk, &ub->b);
	if (r == 0)
		return 0;
	l->busy--;
	l->busy_bytes -= cmd->len;
	l->g->busy--;
	ub->next = l->free_bufs;
	l->free_bufs = ub;
	return r;
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

void user_send(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	int r = us->flags & US_TX_BROKEN ? -CV_EPIPE : txbuf_queue(l, us, cmd);

	us->tx_taken += cmd->len;
	l->g->epoch++;
	if (r != 0) {
		send_failed(us, r);
		user_completion_post(l, cmd->off);
	}
	/* A datagram may have left already, or failed. */
	user_sock_refresh(us);
}
