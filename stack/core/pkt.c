/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting packets that may be chains, and freeing many; see pkt.h. */
#include "stack/core/pkt.h"

#include "stack/base/compiler.h"

void pkt_cut_front(struct rte_mbuf *m, uint32_t n)
{
	struct rte_mbuf *seg = m;

	m->pkt_len -= n;
	while (n > 0) {
		uint16_t cut = seg->data_len < n ? seg->data_len : (uint16_t)n;

		seg->data_off = (uint16_t)(seg->data_off + cut);
		seg->data_len = (uint16_t)(seg->data_len - cut);
		n -= cut;
		seg = seg->next;
	}
}

void pkt_cut_back(struct rte_mbuf *m, uint32_t n)
{
	uint32_t keep = m->pkt_len - n;
	struct rte_mbuf *seg = m, *gone;

	m->pkt_len = keep;
	m->nb_segs = 1;
	while (keep > seg->data_len) {
		keep -= seg->data_len;
		seg = seg->next;
		m->nb_segs++;
	}
	seg->data_len = (uint16_t)keep;
	gone = seg->next;
	seg->next = NULL;
	while (gone != NULL) {
		struct rte_mbuf *next = gone->next;

		rte_pktmbuf_free_seg(gone);
		gone = next;
	}
}

void pkt_free_burst(struct rte_mbuf **pkts, uint32_t n)
{
	struct rte_mempool *pool = n > 0 ? pkts[0]->pool : NULL;
	uint32_t together = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (cv_unlikely(m->next != NULL || m->pool != pool)) {
			rte_pktmbuf_free(m);
			continue;
		}
		m = rte_pktmbuf_prefree_seg(m);
		if (cv_likely(m != NULL))
			pkts[together++] = m;
	}
	if (together > 0)
		rte_mempool_put_bulk(pool, (void **)pkts, together);
}
