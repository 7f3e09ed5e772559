/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segmentation in software: a super-segment (port.h) becomes frames of the MSS just before a device that does not cut
 * by itself, so that TCP, IP and the neighbour were asked once for all of them.
 *
 * Owns: the cutting. Does not own: which segments are cut (ip_output says so by RTE_MBUF_F_TX_TCP_SEG).
 * Called by: port_send(). Each frame gets headers of its own and refers to the payload where it lies.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "stack/net/priv.h"

#define COPY_MAX 256u /* a payload so small is copied behind the header */

/* Where the next byte of payload lies. */
struct place {
	struct rte_mbuf *seg;
	uint32_t off;
};

static void payload_copy(struct rte_mbuf *m, struct place *at, uint32_t len)
{
	char *to = rte_pktmbuf_append(m, (uint16_t)len);

	while (len > 0) {
		uint32_t n = at->seg->data_len - at->off;

		if (n == 0) {
			*at = (struct place){at->seg->next, 0};
			continue;
		}
		n = n < len ? n : len;
		memcpy(to, rte_pktmbuf_mtod_offset(at->seg, const char *, at->off), n);
		to += n;
		at->off += n;
		len -= n;
	}
}

static bool payload_attach(struct engine *e, struct rte_mbuf *m, struct place *at, uint32_t len)
{
	struct rte_mbuf *last = m;

	while (len > 0) {
		uint32_t n = at->seg->data_len - at->off;
		struct rte_mbuf *x;

		if (n == 0) {
			*at = (struct place){at->seg->next, 0};
			continue;
		}
		x = rte_pktmbuf_alloc(e->pkt_pool);
		if (x == NULL)
			return false;
		n = n < len ? n : len;
		rte_pktmbuf_attach(x, at->seg);
		x->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
		x->data_off = (uint16_t)(x->data_off + at->off);
		x->data_len = (uint16_t)n;
		x->pkt_len = n;
		last->next = x;
		last = x;
		m->nb_segs++;
		m->pkt_len += n;
		at->off += n;
		len -= n;
	}
	return true;
}

/* A frame with the super-segment's headers and the next len bytes of its payload; NULL without a buffer. */
static struct rte_mbuf *piece_make(struct engine *e, struct rte_mbuf *whole, struct place *at, uint32_t len)
{
	uint16_t head = (uint16_t)(whole->l2_len + whole->l3_len + whole->l4_len);
	struct rte_mbuf *m = rte_pktmbuf_alloc(e->pkt_pool);

	if (m == NULL)
		return NULL;
	memcpy(rte_pktmbuf_append(m, head), rte_pktmbuf_mtod(whole, const char *), head);
	m->ol_flags = whole->ol_flags & ~(RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT);
	m->tx_offload = whole->tx_offload;
	m->tso_segsz = 0;
	if (len <= COPY_MAX) {
		payload_copy(m, at, len);
	} else if (!payload_attach(e, m, at, len)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	return m;
}

/* The sum over the pseudo header. */
static uint32_t ip_finish(const struct port *port, struct rte_mbuf *m, uint16_t nth)
{
	void *ip = rte_pktmbuf_mtod_offset(m, void *, m->l2_len);
	uint32_t len = rte_pktmbuf_pkt_len(m) - m->l2_len - m->l3_len;
	uint64_t sum = (uint64_t)rte_cpu_to_be_32(len) + rte_cpu_to_be_32(IPPROTO_TCP);
	struct rte_ipv4_hdr *h = ip;
	struct rte_ipv6_hdr *h6 = ip;

	if (h->version_ihl >> 4 == 6) {
		h6->payload_len = rte_cpu_to_be_16((uint16_t)len);
		return cksum_fold(sum + cksum_words(h6->src_addr, 8));
	}
	h->total_length = rte_cpu_to_be_16((uint16_t)(len + m->l3_len));
	h->packet_id = rte_cpu_to_be_16((uint16_t)(rte_be_to_cpu_16(h->packet_id) + nth));
	h->hdr_checksum = 0;
	if (!port->tx_ip_cksum)
		h->hdr_checksum = (uint16_t)~cksum_words(h, IP_HEADER_V4 / 4);
	return cksum_fold(sum + cksum_words(&h->src_addr, 2));
}

static void tcp_finish(const struct port *port, struct rte_mbuf *m, uint32_t sum, uint32_t off, bool last)
{
	uint32_t at = m->l2_len + m->l3_len;
	struct rte_tcp_hdr *h = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, at);

	h->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(h->sent_seq) + off);
	if (!last)
		h->tcp_flags &= (uint8_t)~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
	if (off > 0)
		h->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG; /* RFC3168:6.1.2: on the first new segment */
	if (port->trusted)
		return;
	h->cksum = 0;
	h->cksum = port->tx_l4_cksum ? (uint16_t)sum : (uint16_t)~mbuf_cksum(m, at, sum);
}

uint16_t gso_cut(struct engine *e, struct port *port, struct rte_mbuf *whole, struct rte_mbuf **out, uint16_t most)
{
	uint32_t head = (uint32_t)whole->l2_len + whole->l3_len + whole->l4_len;
	uint32_t len = rte_pktmbuf_pkt_len(whole) - head, mss = whole->tso_segsz;
	struct place at = {whole, head};
	uint16_t n = 0;

	for (uint32_t off = 0; off < len && n < most; off += mss) {
		uint32_t bytes = len - off < mss ? len - off : mss;
		struct rte_mbuf *m = piece_make(e, whole, &at, bytes);

		if (m == NULL) {
			e->counters.no_mbuf++; /* the rest is lost, and TCP sends it again */
			break;
		}
		tcp_finish(port, m, ip_finish(port, m, n), off, off + bytes == len);
		out[n++] = m;
	}
	if (n > 0)
		e->net->ip_id = (uint16_t)(e->net->ip_id + n - 1);
	rte_pktmbuf_free(whole);
	return n;
}
