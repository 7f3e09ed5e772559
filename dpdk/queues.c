/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker's way to the devices: bursts in and out of its queue pair, and frames lent to the worker
 * that has one. Called by the engine on every turn. */
#include "dpdk/ports_priv.h"

#include <stdlib.h>
#include <rte_ethdev.h>

#include "dpdk/log.h"

#define LENT_FRAMES 1024u
#define LENT_BURST 32u

/* For drivers that take no chains. Headers are made in buffers that have room for a whole frame. */
static void flatten(struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		if (pkts[i]->nb_segs > 1 && rte_pktmbuf_linearize(pkts[i]) != 0)
			log_line(LOG_DEBUG, "a frame of %u bytes has no room to lie in one piece",
				rte_pktmbuf_pkt_len(pkts[i]));
	}
}

static bool is_outside(const struct rte_mbuf *m)
{
	while (m != NULL && RTE_MBUF_DIRECT(m))
		m = m->next;
	return m != NULL;
}

/* Copies what lies in programs' memory. Returns how many of the frames may be sent. */
static uint16_t take_in(struct rte_mempool *pool, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *copy;

		if (!is_outside(pkts[i]))
			continue;
		copy = rte_pktmbuf_copy(pkts[i], pool, 0, UINT32_MAX);
		if (copy == NULL)
			return i;
		rte_pktmbuf_free(pkts[i]);
		pkts[i] = copy;
	}
	return n;
}

static uint16_t queue_send(const struct ports *p, const struct ports_port *q, uint16_t queue,
	struct rte_mbuf **pkts, uint16_t n)
{
	if (q->own_memory)
		n = take_in(p->pool, pkts, n);
	if (q->one_segment)
		flatten(pkts, n);
	if (q->offloads) /* some drivers want headers otherwise than others, and see to it here */
		n = rte_eth_tx_prepare(q->ethdev, queue, pkts, n);
	return rte_eth_tx_burst(q->ethdev, queue, pkts, n);
}

/* --- workers without a queue
 * ---------------------------------------------------------------------- */

/* Frames of workers without a queue. */
int ports_lent_prepare(struct ports *p, struct ports_port *q)
{
	if (q->queues == p->workers)
		return 0;
	q->lent = aligned_alloc(64, p->workers * sizeof(*q->lent));
	for (uint16_t k = 0; q->lent != NULL && k < p->workers; k++) {
		if (spsc_init(&q->lent[k], LENT_FRAMES, 1) != 0)
			return -1;
	}
	return q->lent != NULL ? 0 : -1;
}

/* What refers to a program's memory is given back by its own worker only: others send a copy. */
static struct rte_mbuf *frame_lend(const struct ports_view *v, struct rte_mbuf *m)
{
	return is_outside(m) ? rte_pktmbuf_copy(m, v->ports->pool, 0, UINT32_MAX) : m;
}

static uint16_t frames_lend(
	struct ports_view *v, struct ports_port *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct spsc *r = &q->lent[v->worker];
	uint16_t done = 0;

	for (; done < n; done++) {
		uint64_t *word = spsc_put(r);
		struct rte_mbuf *m = word != NULL ? frame_lend(v, pkts[done]) : NULL;

		if (m == NULL)
			break;
		if (m != pkts[done])
			rte_pktmbuf_free(pkts[done]);
		*word = (uintptr_t)m;
		spsc_put_done(r);
	}
	if (done > 0)
		v->told |= 1u << (v->worker % q->queues);
	return done;
}

static void lent_send(
	const struct ports *p, const struct ports_port *q, uint16_t queue, struct spsc *r)
{
	struct rte_mbuf *pkts[LENT_BURST];
	uint32_t tail = spsc_tail(r), have = tail - r->head;
	uint16_t n = 0, sent;

	while (n < LENT_BURST && n < have) {
		pkts[n] = (void *)(uintptr_t)*spsc_at(r, n);
		n++;
	}
	sent = n > 0 ? queue_send(p, q, queue, pkts, n) : 0;
	while (sent-- > 0)
		spsc_take_done(r);
}

bool ports_lent(const struct ports_view *v)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		const struct ports_port *q = &v->ports->port[i];

		for (uint16_t k = q->queues; k < v->ports->workers; k++) {
			if (k % q->queues == v->worker && !spsc_is_empty(&q->lent[k]))
				return true;
		}
	}
	return false;
}

/* --- the engine's rx and tx
 * ------------------------------------------------------------------------ */

uint16_t ports_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	struct ports_view *v = ctx;
	struct ports_port *q = &v->ports->port[port];

	if (v->worker >= q->queues || q->waits_for_peer)
		return 0;
	for (uint16_t k = v->worker + q->queues; k < v->ports->workers;
		k = (uint16_t)(k + q->queues))
		lent_send(v->ports, q, v->worker, &q->lent[k]);
	return rte_eth_rx_burst(q->ethdev, v->worker, pkts, max);
}

uint16_t ports_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct ports_view *v = ctx;
	struct ports_port *q = &v->ports->port[port];

	if (v->worker >= q->queues)
		return frames_lend(v, q, pkts, n);
	return queue_send(v->ports, q, v->worker, pkts, n);
}
