/* SPDX-License-Identifier: BSD-3-Clause */
/* Cutting datagrams that are larger than their path (RFC791:3.2, RFC8200:4.5). The pieces are
 * copies: this is not the path that anything fast takes. */
#include <netinet/in.h>
#include <string.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

/* Bytes of payload in each piece but the last. */
static uint32_t piece_bytes(const struct engine *e, const struct ip_path *path, bool v4)
{
	uint32_t header = v4 ? IP_HEADER_V4 : IP_HEADER_V6 + sizeof(struct rte_ipv6_fragment_ext);
	uint32_t room = rte_pktmbuf_data_room_size(e->pkt_pool) - RTE_PKTMBUF_HEADROOM;
	uint32_t bytes = path->pmtu - header;

	return (bytes < room ? bytes : room) & ~7u;
}

/* A copy of [off, off + len) of m, NULL without a buffer. */
static struct rte_mbuf *piece_copy(
	struct engine *e, const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	struct rte_mbuf *piece = rte_pktmbuf_alloc(e->pkt_pool);
	char *to = piece ? rte_pktmbuf_append(piece, (uint16_t)len) : NULL;
	const char *from;

	if (to == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(piece);
		return NULL;
	}
	from = rte_pktmbuf_read(m, off, len, to);
	if (from != to) /* it lay in one piece and was not copied yet */
		memcpy(to, from, len);
	return piece;
}

static bool fragment_header(
	struct rte_mbuf *piece, uint8_t next, uint32_t off, bool more, uint32_t id)
{
	struct rte_ipv6_fragment_ext *f = (void *)rte_pktmbuf_prepend(piece, sizeof(*f));

	if (f == NULL)
		return false;
	f->next_header = next;
	f->reserved = 0;
	f->frag_data = rte_cpu_to_be_16((uint16_t)(off | more));
	f->id = rte_cpu_to_be_32(id);
	return true;
}

/* Identifications that repeat as late as they can for one destination, and that nobody else can guess from those that
 * he gets (RFC7739:5.3, RFC6864:4.3): a counter of the destination, from a place of its own for each pair of ends. */
static uint32_t id_next(struct engine *e, const struct ip_emit *how)
{
	struct net *net = e->net;
	uint64_t words[4], hash;
	uint32_t id;

	memcpy(words, how->dst, 16);
	memcpy(words + 2, how->src, 16);
	hash = siphash(&net->frag_key, words, 4);
	id = net->frag_ids[siphash13(&net->frag_key, words, 2, 0) % FRAG_IDS]++ + (uint32_t)hash;
	/* Of several workers each has a class of numbers of its own. */
	return e->crew != NULL ? id * e->crew->n + e->worker : id;
}

void frag_init(struct engine *e)
{
	struct net *net = e->net;

	net->frag_key.k0 = e->env.random64(e->env.ctx);
	net->frag_key.k1 = e->env.random64(e->env.ctx);
	for (unsigned i = 0; i < FRAG_IDS; i++)
		net->frag_ids[i] = (uint32_t)e->env.random64(e->env.ctx);
}

int frag_output(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m)
{
	bool v4 = addr_is_v4(how->dst);
	uint32_t each = piece_bytes(e, how->path, v4), len = rte_pktmbuf_pkt_len(m);
	uint32_t id = id_next(e, how);
	struct ip_emit one = *how;
	int ret = 0;

	one.id4 = (uint16_t)id;
	if (!v4)
		one.next = IPPROTO_FRAGMENT;
	for (uint32_t off = 0; off < len && ret == 0; off += each) {
		bool more = len - off > each;
		struct rte_mbuf *piece = piece_copy(e, m, off, more ? each : len - off);

		if (piece == NULL || (!v4 && !fragment_header(piece, how->next, off, more, id))) {
			rte_pktmbuf_free(piece);
			ret = -CV_ENOBUFS;
			break;
		}
		one.frag4 = (uint16_t)(off / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0));
		e->counters.frags_out++;
		ret = ip_emit(e, &one, piece);
	}
	rte_pktmbuf_free(m);
	return ret;
}
