/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the stack knows of a packet: the private area of its mbuf, filled by stack/net/ when the packet
 * is parsed; and a FIFO of packets linked through it.
 */
#ifndef CULVERT_CORE_PKT_H
#define CULVERT_CORE_PKT_H

#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/api/segment.h"

struct pkt {
	struct rte_mbuf *next; /* in a pktq */
	uint16_t port;         /* number of the port it came by; PORT_LOOPBACK: from ourselves */
	uint8_t proto, tos, ttl;
	uint8_t to_all;        /* non-zero: its frame went to a group or to everybody on the link */
	uint8_t fin;           /* TCP: a FIN follows the payload */
	uint8_t again;         /* non-zero: from and to the same addresses as the packet before it in its burst */
	struct cv_endpoint src, dst; /* ports filled by the L4 protocol */
	uint32_t seq;          /* TCP: of the first byte of payload; UDP: the size of the datagrams that were put
				  together (UDP_GRO), 0: it is one */
};
#define PORT_LOOPBACK UINT16_MAX

static inline struct pkt *pkt_of(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

/* Takes n bytes off the front or the back of a packet, across the segments of a chain. Segments that
 * become empty stay at the front and are freed at the back. n is at most the packet's length. */
void pkt_cut_front(struct rte_mbuf *m, uint32_t n);
void pkt_cut_back(struct rte_mbuf *m, uint32_t n);

/* Frees n packets; nearly all are single buffers of one pool, which go back together. */
void pkt_free_burst(struct rte_mbuf **pkts, uint32_t n);

struct pktq {
	struct rte_mbuf *head, *tail;
	uint32_t n;
};

static inline void pktq_init(struct pktq *q)
{
	q->head = NULL;
	q->tail = NULL;
	q->n = 0;
}

static inline void pktq_push(struct pktq *q, struct rte_mbuf *m)
{
	pkt_of(m)->next = NULL;
	if (q->tail != NULL)
		pkt_of(q->tail)->next = m;
	else
		q->head = m;
	q->tail = m;
	q->n++;
}

static inline struct rte_mbuf *pktq_pop(struct pktq *q)
{
	struct rte_mbuf *m = q->head;

	if (m == NULL)
		return NULL;
	q->head = pkt_of(m)->next;
	if (q->head == NULL)
		q->tail = NULL;
	q->n--;
	return m;
}

static inline void pktq_free_all(struct pktq *q)
{
	struct rte_mbuf *m;

	while ((m = pktq_pop(q)) != NULL)
		rte_pktmbuf_free(m);
}

#endif
