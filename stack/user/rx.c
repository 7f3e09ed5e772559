/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive chains (segment.h): from the protocol's queue into blocks of the group's arena, and back
 * to free when the program's cursor has passed. A program in the engine's own process reads larger pieces from the
 * packet buffers themselves, as long as it does not keep too many of them.
 *
 * When arena, descriptors or records run short, packets stay in the protocol's queue, so that a
 * stream's window closes by itself; the socket waits in g->starved until memory comes free.
 *
 * Invariants: a descriptor is freed only when the program can no longer step from it: when
 * rx_consumed is beyond its end, or when everything was consumed (the program then starts at
 * rx_head). us->rx_produced counts what is in the chain; the record says so after each pull.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/pkt.h"
#include "stack/user/priv.h"

#define STREAM_BLOCK_MAX 16384u /* larger ones are freed too late */
#define STREAM_BLOCK_SHORT 4096u
#define LEND_BYTES_MIN 1024u   /* less is copied: a buffer is worth more */
#define DGRAMS_MIN 64u       /* of one socket, whatever its rcvbuf */
#define DGRAM_BYTES_MIN 256u /* a datagram takes at least such a block */

static uint32_t rxd_alloc(struct user_group *g)
{
	uint32_t i = g->rxds_free;

	if (i != CV_RXD_NONE)
		g->rxds_free = g->rxd_own[i].next;
	else if (g->rxds_fresh < g->rxds_end)
		i = g->rxds_fresh++;
	else
		return CV_RXD_NONE;
	g->rxds_used++;
	g->rxd_own[i] = (struct user_rxd){.block = ARENA_NONE};
	return i;
}

/* Back, unused: no reason to look at the starved. */
static void rxd_unalloc(struct user_group *g, uint32_t i)
{
	g->rxd_own[i].next = g->rxds_free;
	g->rxds_free = i;
	g->rxds_used--;
}

static void rxd_free(struct user_group *g, uint32_t i)
{
	if (g->rxd_own[i].block != ARENA_NONE)
		arena_free(&g->arena, g->rxd_own[i].block);
	if (g->rxd_own[i].m != NULL) {
		rte_pktmbuf_free_seg(g->rxd_own[i].m);
		g->u->e->rx_lent--;
	}
	rxd_unalloc(g, i);
	g->rx_freed = true;
}

/* A descriptor with a block of at least bytes (0: none). */
static uint32_t rxd_alloc_block(struct user_group *g, uint32_t bytes)
{
	uint32_t i = rxd_alloc(g);
	struct user_rxd *own = &g->rxd_own[i];

	if (i == CV_RXD_NONE || bytes == 0)
		return i;
	own->block = arena_alloc(&g->arena, bytes, &own->size);
	if (own->block != ARENA_NONE)
		return i;
	rxd_unalloc(g, i);
	return CV_RXD_NONE;
}

static uint8_t *rxd_data(const struct user_group *g, uint32_t i)
{
	return g->seg + g->rx_off + g->rxd_own[i].block;
}

static void rxd_write(struct user_group *g, uint32_t i, const struct cv_rxd *content)
{
	struct cv_rxd *shared = &g->rxds[i];

	*shared = *content;
	shared->off = g->rx_off +
		(g->rxd_own[i].block != ARENA_NONE ? g->rxd_own[i].block : 0);
}

/* Appends descriptor i, whose content stands, at position us->rx_produced. */
static void chain_append(struct user_sock *us, uint32_t i)
{
	struct user_group *g = us->g;
	struct cv_sock *rec = &g->records[us->index];

	g->rxd_own[i].next = CV_RXD_NONE;
	if (us->rx_tail == CV_RXD_NONE) {
		us->rx_head = i;
		SEG_STORE(&rec->rx_head, i);
		SEG_STORE(&rec->rx_head_pos, us->rx_produced);
	} else {
		g->rxd_own[us->rx_tail].next = i;
		SEG_STORE(&g->rxds[us->rx_tail].next, i);
	}
	us->rx_tail = i;
	us->rx_n++;
}

/* What is taken and not moved is a packet buffer that nobody has, as long as it lasts. */
static void part_count(struct user_sock *us)
{
	uint16_t n = 0;

	for (const struct rte_mbuf *m = us->rx_part; m != NULL; m = m->next)
		n++;
	us->g->u->e->rx_held += (uint32_t)n - us->rx_part_held;
	us->rx_part_held = n;
}

static void rx_starve(struct user_sock *us)
{
	if (us->flags & US_STARVED)
		return;
	us->flags |= US_STARVED;
	list_add_tail(&us->g->starved, &us->starved_node);
	us->g->starved_n++;
}

void user_rx_unstarve(struct user_sock *us)
{
	if (!(us->flags & US_STARVED))
		return;
	us->flags &= ~(uint32_t)US_STARVED;
	list_del(&us->starved_node);
	us->g->starved_n--;
}

/* --- streams --------------------------------------------------------------------------------- */

static bool take_part(struct user_sock *us)
{
	if (us->rx_part)
		return true;
	us->rx_part = sock_recv_take(us->sk);
	us->rx_seg_off = 0;
	return us->rx_part != NULL;
}

/* Makes the tail have room; false when memory is short. */
static bool stream_room(struct user_sock *us)
{
	struct user_group *g = us->g;
	uint32_t want = us->rx_part->data_len - us->rx_seg_off + us->sk->rxq_bytes;
	uint32_t max = STREAM_BLOCK_MAX;
	uint32_t i;

	if (us->rx_tail != CV_RXD_NONE &&
		g->rxd_own[us->rx_tail].len < g->rxd_own[us->rx_tail].size)
		return true;
	if (arena_is_short(&g->arena)) {
		/* Leave the rest to sockets that have nothing: theirs may be what the program
		 * waits for. */
		if (us->rx_n > 0)
			return false;
		max = STREAM_BLOCK_SHORT;
	}
	i = rxd_alloc_block(g, want > max ? max : want);
	if (i == CV_RXD_NONE)
		return false;
	g->rxd_own[i].end = us->rx_produced;
	rxd_write(g, i, &(struct cv_rxd){.next = CV_RXD_NONE});
	chain_append(us, i);
	return true;
}

/* The segment's bytes into blocks; false when memory ran short in the middle. */
static bool seg_copy(struct user_sock *us, const struct rte_mbuf *seg)
{
	struct user_group *g = us->g;

	while (us->rx_seg_off < seg->data_len) {
		uint32_t n = seg->data_len - us->rx_seg_off;
		struct user_rxd *own;

		if (!stream_room(us))
			return false;
		own = &g->rxd_own[us->rx_tail];
		if (n > own->size - own->len)
			n = own->size - own->len;
		memcpy(rxd_data(g, us->rx_tail) + own->len,
			rte_pktmbuf_mtod_offset(seg, const uint8_t *, us->rx_seg_off), n);
		own->len += n;
		own->end += n;
		SEG_STORE(&g->rxds[us->rx_tail].len, own->len);
		us->rx_produced += n;
		us->rx_seg_off += n;
	}
	return true;
}

/* The segment itself as a descriptor of its own; false when it is better copied. */
static bool seg_lend(struct user_sock *us, struct rte_mbuf *seg)
{
	struct user_group *g = us->g;
	struct engine *e = g->u->e;
	struct cv_rxd content = {.next = CV_RXD_NONE, .len = seg->data_len};
	uint32_t i;

	if (!g->inside || us->rx_seg_off != 0 || seg->data_len < LEND_BYTES_MIN || e->rx_lent >= e->rx_lent_max)
		return false;
	i = rxd_alloc(g);
	if (i == CV_RXD_NONE)
		return false;
	content.off = CV_RXD_INSIDE | (uintptr_t)rte_pktmbuf_mtod(seg, const uint8_t *);
	seg->next = NULL;
	seg->nb_segs = 1;
	g->rxd_own[i].m = seg;
	g->rxd_own[i].len = g->rxd_own[i].size = seg->data_len;
	g->rxd_own[i].end = us->rx_produced + seg->data_len;
	g->rxds[i] = content;
	chain_append(us, i);
	us->rx_produced += seg->data_len;
	e->rx_lent++;
	return true;
}

#define FREE_BURST 32u

static void free_later(struct rte_mbuf **done, unsigned int *n, struct rte_mbuf *m)
{
	done[(*n)++] = m;
	if (*n == FREE_BURST) {
		rte_pktmbuf_free_bulk(done, *n);
		*n = 0;
	}
}

static void stream_pull(struct user_sock *us)
{
	struct rte_mbuf *done[FREE_BURST];
	unsigned int n = 0;

	while (take_part(us)) {
		struct rte_mbuf *seg = us->rx_part, *next = seg->next;

		if (!seg_lend(us, seg)) {
			if (!seg_copy(us, seg)) {
				rx_starve(us);
				break;
			}
			seg->next = NULL;
			seg->nb_segs = 1;
			free_later(done, &n, seg);
		}
		us->rx_part = next;
		us->rx_seg_off = 0;
	}
	if (n > 0)
		rte_pktmbuf_free_bulk(done, n);
	part_count(us);
}

static void rxd_leave_buffer(struct user_group *g, uint32_t i)
{
	struct user_rxd *own = &g->rxd_own[i];
	uint32_t size;

	if (own->m == NULL || own->block != ARENA_NONE)
		return;
	own->block = arena_alloc(&g->arena, own->len, &size);
	if (own->block == ARENA_NONE)
		return;
	memcpy(rxd_data(g, i), rte_pktmbuf_mtod(own->m, const uint8_t *), own->len);
	/* Whoever has loaded the old word still finds the buffer: it goes with the descriptor. */
	SEG_STORE_RELEASE(&g->rxds[i].off, g->rx_off + own->block);
}

void user_rx_leave_buffers(struct user_group *g)
{
	if (!g->inside)
		return;
	g->inside = false;
	for (uint32_t k = g->socks_first; k < g->socks_fresh; k++) {
		const struct user_sock *us = &g->socks[k];

		for (uint32_t i = us->sk ? us->rx_head : CV_RXD_NONE; i != CV_RXD_NONE; i = g->rxd_own[i].next)
			rxd_leave_buffer(g, i);
	}
}

/* --- datagrams ------------------------------------------------------------------------------- */

static uint32_t dgrams_max(const struct user_sock *us)
{
	uint32_t n = us->sk->rcvbuf / DGRAM_BYTES_MIN;

	return n < DGRAMS_MIN ? DGRAMS_MIN : n;
}

static void dgram_copy(const struct rte_mbuf *m, uint8_t *to, uint32_t len)
{
	while (len > 0) {
		uint32_t n = m->data_len < len ? m->data_len : len;

		memcpy(to, rte_pktmbuf_mtod(m, const uint8_t *), n);
		to += n;
		len -= n;
		m = m->next;
	}
}

/* Who sent a datagram and to which address. */
static void addresses_fill(const struct engine *e, const struct rte_mbuf *m, struct cv_rxd *rxd)
{
	const struct pkt *p = rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	const struct port *port = p->port == PORT_LOOPBACK ? NULL : net_port_by_id(e, p->port);

	rxd->ifindex = port ? port->ifindex : USER_LOOPBACK_IFINDEX;
	sock_endpoint_out(&rxd->peer, &p->src);
	addr_to_wire(rxd->local_addr, p->dst.addr);
	rxd->tos = p->tos;
	rxd->ttl = p->ttl;
}

static bool dgram_append(struct user_sock *us, const struct rte_mbuf *m)
{
	struct user_group *g = us->g;
	struct cv_rxd_extra said;
	/* One of the largest has no room for more in its block, and goes without. */
	uint32_t extra =
		m->pkt_len + sizeof(said) <= ARENA_SPAN_BYTES && sock_rx_extra(us->sk, m, &said) ? sizeof(said) : 0;
	uint32_t len = m->pkt_len > ARENA_SPAN_BYTES ? ARENA_SPAN_BYTES : m->pkt_len;
	uint32_t i = rxd_alloc_block(g, len + extra);
	struct cv_rxd content = {.next = CV_RXD_NONE, .len = len, .sock = sock_rx_segment(m)};

	if (i == CV_RXD_NONE)
		return false;
	if (extra > 0)
		memcpy(rxd_data(g, i), &said, sizeof(said));
	if (len > 0)
		dgram_copy(m, rxd_data(g, i) + extra, len);
	if (len < m->pkt_len)
		content.flags |= CV_RXD_TRUNC;
	if (extra > 0)
		content.flags |= CV_RXD_EXTRA;
	addresses_fill(g->u->e, m, &content);
	g->rxd_own[i].len = len;
	g->rxd_own[i].bytes = m->pkt_len;
	g->rxd_own[i].end = us->rx_produced + 1;
	rxd_write(g, i, &content);
	g->rxds[i].off += extra;
	chain_append(us, i);
	us->rx_produced++;
	return true;
}

static void dgram_pull(struct user_sock *us)
{
	/* At the limit the rest waits for the program's next RECVD, which asks again. */
	while (us->rx_n < dgrams_max(us) && take_part(us)) {
		if (!dgram_append(us, us->rx_part)) {
			rx_starve(us);
			break;
		}
		rte_pktmbuf_free(us->rx_part);
		us->rx_part = NULL;
	}
	part_count(us);
}

bool user_rx_keeps_up(const struct user_sock *us)
{
	return us->g->starved_n == 0 && (us->sk->type != CV_DGRAM || us->rx_n < dgrams_max(us));
}

/* --- listeners ------------------------------------------------------------------------------- */

bool user_rx_connection(struct user_sock *us, uint32_t handle)
{
	struct user_group *g = us->g;
	struct cv_rxd content = {.next = CV_RXD_NONE, .sock = handle};
	uint32_t i = rxd_alloc(g);

	if (i == CV_RXD_NONE)
		return false;
	g->rxd_own[i].end = us->rx_produced + 1;
	rxd_write(g, i, &content);
	chain_append(us, i);
	us->rx_produced++;
	return true;
}

/* Takes one connection over; false when there is none, or no record or descriptor for it. */
static bool listener_take(struct user_sock *us)
{
	struct user_group *g = us->g;
	bool far = (us->flags & US_REPLICA) != 0;
	struct user_sock *conn;
	struct sock *sk;

	if (sock_accepts_n(us->sk) == 0)
		return false;
	if (far && !user_replicas_room(g)) {
		rx_starve(us);
		g->rx_freed = true; /* the next turn looks again */
		return false;
	}
	conn = user_sock_alloc(g);
	if (!conn || (!far && !user_rx_connection(us, conn->handle))) {
		if (conn)
			user_sock_unalloc(conn);
		rx_starve(us);
		return false;
	}
	sk = sock_accept(us->sk);
	conn->listener = us;
	list_add_tail(&us->pending, &conn->pending_node);
	user_sock_start(conn, sk);
	if (far && !user_replica_announce(us, conn->handle))
		user_sock_end(conn, true); /* memory is short */
	return true;
}

void user_rx_accepted(struct user_sock *us)
{
	struct user_sock *listener = us->listener;

	list_del(&us->pending_node);
	us->listener = NULL;
	sock_accept_done(listener->sk);
}

/* --- all ------------------------------------------------------------------------------------- */

/* Once the program's cursor is here it should say so without waiting for an empty queue: a quarter
 * of what may lie there is free, or somebody waits for any memory at all. */
static void publish_notify_pos(struct user_sock *us)
{
	uint32_t step = 16;
	uint64_t pos;

	if (us->flags & US_STARVED)
		step = 1;
	else if (us->sk->type == CV_DGRAM)
		step = dgrams_max(us) / 4;
	else if (!(us->sk->status & CV_ST_LISTENING))
		step = us->sk->rcvbuf / 4 ? us->sk->rcvbuf / 4 : 1;
	pos = us->rx_consumed + step;
	if (pos == us->rx_notify)
		return;
	us->rx_notify = pos;
	SEG_STORE(&us->g->records[us->index].rx_notify_pos, pos);
}

void user_rx_announce(struct user_sock *us)
{
	SEG_STORE_RELEASE(&us->g->records[us->index].rx_produced, us->rx_produced);
	user_notify(us, US_CHANGED);
}

void user_rx_pull(struct user_sock *us)
{
	uint64_t before = us->rx_produced;

	if (us->sk->status & CV_ST_LISTENING) {
		while (listener_take(us)) {
		}
	} else if (us->sk->type == CV_STREAM) {
		stream_pull(us);
	} else {
		dgram_pull(us);
	}
	publish_notify_pos(us);
	if (us->rx_produced != before)
		user_rx_announce(us);
}

bool user_rx_is_drained(const struct user_sock *us)
{
	return !us->rx_part && us->sk->rxq_bytes == 0;
}

/* Frees descriptors that the program has left; returns the bytes of the datagrams among them. */
static uint32_t chain_trim(struct user_sock *us)
{
	struct user_group *g = us->g;
	bool all = us->rx_consumed == us->rx_produced;
	uint32_t bytes = 0;

	while (us->rx_head != CV_RXD_NONE) {
		uint32_t i = us->rx_head;

		if (g->rxd_own[i].end > us->rx_consumed)
			break;
		/* Counted once, also when it must stay for the program to step from. */
		bytes += g->rxd_own[i].bytes;
		g->rxd_own[i].bytes = 0;
		if (!all && g->rxd_own[i].end == us->rx_consumed)
			break;
		us->rx_head = g->rxd_own[i].next;
		us->rx_n--;
		rxd_free(g, i);
	}
	if (us->rx_head == CV_RXD_NONE)
		us->rx_tail = CV_RXD_NONE;
	return bytes;
}

void user_rx_sync(struct user_sock *us)
{
	struct user_group *g = us->g;
	uint64_t consumed = SEG_LOAD(&g->records[us->index].rx_consumed);
	uint64_t before = us->rx_consumed;
	uint32_t bytes;

	if (consumed == before)
		return;
	if (consumed < before || consumed > us->rx_produced) {
		g->violations++;
		return;
	}
	us->rx_consumed = consumed;
	bytes = chain_trim(us);
	if (us->sk->status & CV_ST_LISTENING) {
		user_rx_pull(us);
		return;
	}
	if (us->sk->type == CV_STREAM)
		bytes = (uint32_t)(consumed - before);
	if (bytes > 0)
		sock_consumed(us->sk, bytes);
	user_sock_refresh(us);
}

void user_rx_end(struct user_sock *us)
{
	user_rx_unstarve(us);
	while (us->rx_head != CV_RXD_NONE) {
		uint32_t i = us->rx_head;

		us->rx_head = us->g->rxd_own[i].next;
		rxd_free(us->g, i);
	}
	us->rx_tail = CV_RXD_NONE;
	us->rx_n = 0;
	rte_pktmbuf_free(us->rx_part);
	us->rx_part = NULL;
	part_count(us);
}

void user_rx_feed_starved(struct user_group *g)
{
	uint32_t budget = USER_STARVED_BUDGET;

	if (g->rx_freed) {
		g->rx_freed = false;
		g->starved_left = g->starved_n;
	}
	while (g->starved_left > 0 && g->starved_n > 0 && budget-- > 0) {
		struct user_sock *us =
			list_entry(list_first(&g->starved), struct user_sock, starved_node);

		g->starved_left--;
		user_rx_unstarve(us);
		user_sock_refresh(us); /* starves again at the list's end if need be */
	}
	if (g->starved_n == 0)
		g->starved_left = 0;
}
