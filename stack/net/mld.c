/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MLD on the wire: version 2 (RFC3810:5), and version 1 (RFC2710:3) for routers that speak no newer one. What is said
 * and when is mcast_report.c's.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/mcast_priv.h"
#include "stack/net/priv.h"

#define V1_BYTES 24u
#define V2_QUERY_BYTES 28u
#define MS_NS 1000000ull
#define SECOND_NS 1000000000ull
#define INTERVAL_NS (125 * SECOND_NS) /* RFC3810:9.2 */
#define HOP_BYTES 8u                 /* of the hop-by-hop header with the router alert (RFC2711) */
#define HEAD_BYTES (IP_HEADER_V6 + HOP_BYTES)

enum { MLD_QUERY = 130, MLD_REPORT = 131, MLD_DONE = 132, MLD2_REPORT = 143 };

/* A buffer for a message of so many bytes behind the headers, all zero; where the message is. */
static uint8_t *message_new(struct engine *e, struct rte_mbuf **m, uint16_t bytes)
{
	uint8_t *at;

	*m = rte_pktmbuf_alloc(e->pkt_pool);
	at = *m != NULL ? (void *)rte_pktmbuf_append(*m, (uint16_t)(HEAD_BYTES + bytes)) : NULL;
	if (at == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(*m);
		return NULL;
	}
	memset(at, 0, HEAD_BYTES + bytes);
	return at + HEAD_BYTES;
}

/* From the link-local address, or from :: while that is tentative (RFC3810:5.2.13). */
static void message_send(struct iface *i, struct rte_mbuf *m, const uint8_t dst[16])
{
	static const uint8_t alert[HOP_BYTES] = {IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
	static const uint8_t any[16];
	struct engine *e = i->engine;
	const uint8_t *src = net_source(e->net, i->port, dst);
	struct rte_ipv6_hdr *h = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	uint8_t mac[6], *at = (uint8_t *)h + HEAD_BYTES;
	uint16_t len = (uint16_t)(rte_pktmbuf_pkt_len(m) - HEAD_BYTES), cksum;

	if (src == NULL || !addr_is_link_local(src))
		src = any;
	cksum = (uint16_t)~mbuf_cksum(m, HEAD_BYTES, pseudo_cksum(src, dst, IPPROTO_ICMPV6, len));
	memcpy(at + ICMP_CKSUM_OFF, &cksum, 2);
	memcpy(h + 1, alert, HOP_BYTES);
	h->vtc_flow = rte_cpu_to_be_32(6u << 28);
	h->payload_len = rte_cpu_to_be_16((uint16_t)(len + HOP_BYTES));
	h->proto = IPPROTO_HOPOPTS;
	h->hop_limits = 1;
	addr_to_wire(h->src_addr, src);
	addr_to_wire(h->dst_addr, dst);
	eth_group_mac(mac, dst);
	e->counters.mcast_reports_out++;
	eth_output(e, i->port, m, mac, RTE_ETHER_TYPE_IPV6);
}

void mld_records(struct iface *i, const struct mcast_record *r, unsigned n)
{
	static const uint8_t routers[16] = {0xff, 2, [15] = 0x16};
	uint16_t bytes = 8;
	struct rte_mbuf *m;
	uint8_t *at;

	for (unsigned k = 0; k < n; k++)
		bytes = (uint16_t)(bytes + 20 + 16 * r[k].n);
	at = message_new(i->engine, &m, bytes);
	if (at == NULL)
		return;
	at[0] = MLD2_REPORT;
	at[7] = (uint8_t)n;
	at += 8;
	for (unsigned k = 0; k < n; k++) {
		at[0] = r[k].type;
		at[3] = r[k].n;
		addr_to_wire(at + 4, r[k].group);
		at += 20;
		for (unsigned s = 0; s < r[k].n; s++, at += 16)
			addr_to_wire(at, r[k].src[s]);
	}
	message_send(i, m, routers);
}

void mld_old(struct iface *i, const uint8_t group[16], bool leave)
{
	static const uint8_t routers[16] = {0xff, 2, [15] = 2};
	struct rte_mbuf *m;
	uint8_t *at = message_new(i->engine, &m, V1_BYTES);

	if (at == NULL)
		return;
	at[0] = leave ? MLD_DONE : MLD_REPORT;
	addr_to_wire(at + 8, group);
	message_send(i, m, leave ? routers : group);
}

/* RFC3810:5.1.3 */
static uint32_t delay_ms(uint16_t code)
{
	return code < 32768 ? code : (uint32_t)((code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3);
}

/* RFC3810:5.1.9 */
static uint32_t interval_s(uint8_t code)
{
	return code < 128 ? code : (uint32_t)((code & 0xf) | 0x10) << ((code >> 4 & 7) + 3);
}

static bool query_parse(struct bytes b, size_t len, const struct port *port, struct mcast_query *q)
{
	static const uint8_t any[16];
	const uint8_t *group;
	uint16_t code;

	bytes_be32(&b);
	code = bytes_be16(&b);
	bytes_be16(&b);
	group = bytes_take(&b, 16);
	if (group == NULL || (len > V1_BYTES && len < V2_QUERY_BYTES))
		return false;
	*q = (struct mcast_query){.interval_ns = INTERVAL_NS, .general = memcmp(group, any, 16) == 0};
	memcpy(q->group, group, 16);
	if (addr_is_scoped(q->group))
		addr_scope_set(q->group, port->ifindex);
	if (!q->general && q->group[0] != 0xff)
		return false;
	if (len == V1_BYTES) {
		q->age = 1;
		q->max_ns = code * MS_NS;
		return true;
	}
	q->max_ns = delay_ms(code) * MS_NS;
	q->robustness = bytes_u8(&b) & 7;
	q->interval_ns = interval_s(bytes_u8(&b)) * SECOND_NS;
	q->n = bytes_be16(&b);
	q->src = bytes_take(&b, q->n * 16u);
	return q->src != NULL && !(q->general && q->n > 0);
}

bool mld_is(uint8_t type)
{
	return type == MLD_QUERY || type == MLD_REPORT || type == MLD_DONE || type == MLD2_REPORT;
}

/* Only neighbours say such things (RFC2710:3, RFC3810:6.2). Their router alert is behind us. */
void mld_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	uint32_t len = rte_pktmbuf_pkt_len(m);
	struct bytes b = bytes_over(rte_pktmbuf_mtod(m, const void *), rte_pktmbuf_data_len(m));
	const uint8_t *at = rte_pktmbuf_mtod(m, const uint8_t *);
	struct mcast_query q;
	uint8_t group[16];

	if (len < V1_BYTES || p->ttl != 1 || (!addr_is_link_local(p->src.addr) && at[0] == MLD_QUERY)) {
		net_count_once(e, &e->counters.drop_mcast);
	} else if (at[0] == MLD_QUERY) {
		if (query_parse(b, len, port, &q))
			mcast_report_query(&port->iface->mcast[1], &q);
		else
			net_count_once(e, &e->counters.drop_mcast);
	} else if (at[0] == MLD_REPORT && rte_pktmbuf_data_len(m) >= V1_BYTES) {
		memcpy(group, at + 8, 16);
		if (addr_is_scoped(group))
			addr_scope_set(group, port->ifindex);
		mcast_report_heard(&port->iface->mcast[1], group);
	}
	rte_pktmbuf_free(m);
}
