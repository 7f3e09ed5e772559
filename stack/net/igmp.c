/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IGMP on the wire: version 3 (RFC3376:4), and versions 2 (RFC2236:2) and 1 (RFC1112, appendix I) for routers that
 * speak no newer one. What is said and when is mcast_report.c's.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/mcast_priv.h"
#include "stack/net/priv.h"

#define IP_BYTES 24u /* with the router alert option (RFC2113) */
#define V2_BYTES 8u
#define V3_QUERY_BYTES 12u
#define TENTH_NS 100000000ull
#define INTERVAL_NS 125000000000ull /* RFC3376:8.2 */
#define TOS 0xc0u                   /* internetwork control: RFC3376:4 */

enum { IGMP_QUERY = 0x11, IGMP_V1_REPORT = 0x12, IGMP_V2_REPORT = 0x16, IGMP_V2_LEAVE = 0x17, IGMP_V3_REPORT = 0x22 };

/* A buffer for a message of so many bytes behind the IP header, all zero; where the message is. */
static uint8_t *message_new(struct engine *e, struct rte_mbuf **m, uint16_t bytes)
{
	uint8_t *at;

	*m = rte_pktmbuf_alloc(e->pkt_pool);
	at = *m != NULL ? (void *)rte_pktmbuf_append(*m, (uint16_t)(IP_BYTES + bytes)) : NULL;
	if (at == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(*m);
		return NULL;
	}
	memset(at, 0, IP_BYTES + bytes);
	return at + IP_BYTES;
}

static void message_send(struct iface *i, struct rte_mbuf *m, const uint8_t dst[4])
{
	static const uint8_t alert[4] = {0x94, 4, 0, 0};
	struct engine *e = i->engine;
	struct rte_ipv4_hdr *h = rte_pktmbuf_mtod(m, struct rte_ipv4_hdr *);
	uint8_t mac[6], to[16], *at = (uint8_t *)h + IP_BYTES;
	const uint8_t *src;
	uint16_t cksum = (uint16_t)~cksum_bytes(at, rte_pktmbuf_pkt_len(m) - IP_BYTES);

	memcpy(at + 2, &cksum, 2);
	addr_from_v4(to, dst);
	src = net_source(e->net, i->port, to); /* 0.0.0.0 while there is none: RFC3376:4.2.13 */
	h->version_ihl = 4 << 4 | IP_BYTES / 4;
	h->type_of_service = TOS;
	h->total_length = rte_cpu_to_be_16((uint16_t)rte_pktmbuf_pkt_len(m));
	h->packet_id = rte_cpu_to_be_16(e->net->ip_id++);
	h->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
	h->time_to_live = 1;
	h->next_proto_id = IPPROTO_IGMP;
	if (src != NULL)
		memcpy(&h->src_addr, src + 12, 4);
	memcpy(&h->dst_addr, dst, 4);
	memcpy(h + 1, alert, sizeof(alert));
	h->hdr_checksum = (uint16_t)~cksum_words(h, IP_BYTES / 4);
	eth_group_mac(mac, to);
	e->counters.mcast_reports_out++;
	eth_output(e, i->port, m, mac, RTE_ETHER_TYPE_IPV4);
}

void igmp_records(struct iface *i, const struct mcast_record *r, unsigned n)
{
	static const uint8_t routers[4] = {224, 0, 0, 22};
	uint16_t bytes = 8;
	struct rte_mbuf *m;
	uint8_t *at;

	for (unsigned k = 0; k < n; k++)
		bytes = (uint16_t)(bytes + 8 + 4 * r[k].n);
	at = message_new(i->engine, &m, bytes);
	if (at == NULL)
		return;
	at[0] = IGMP_V3_REPORT;
	at[7] = (uint8_t)n;
	at += 8;
	for (unsigned k = 0; k < n; k++) {
		at[0] = r[k].type;
		at[3] = r[k].n;
		memcpy(at + 4, r[k].group + 12, 4);
		at += 8;
		for (unsigned s = 0; s < r[k].n; s++, at += 4)
			memcpy(at, r[k].src[s] + 12, 4);
	}
	message_send(i, m, routers);
}

void igmp_old(struct iface *i, const uint8_t group[16], unsigned age, bool leave)
{
	static const uint8_t routers[4] = {224, 0, 0, 2};
	struct rte_mbuf *m;
	uint8_t *at = message_new(i->engine, &m, V2_BYTES);

	if (at == NULL)
		return;
	at[0] = leave ? IGMP_V2_LEAVE : age == 2 ? IGMP_V1_REPORT : IGMP_V2_REPORT;
	memcpy(at + 4, group + 12, 4);
	message_send(i, m, leave ? routers : group + 12);
}

/* RFC3376:4.1.1: from 128 on it is a small floating point number. */
static uint32_t code_value(uint8_t code)
{
	return code < 128 ? code : (uint32_t)((code & 0xf) | 0x10) << ((code >> 4 & 7) + 3);
}

/* RFC3376:7.1: the length and the code say which version it is. */
static bool query_parse(struct bytes b, size_t len, struct mcast_query *q)
{
	uint8_t code, v4[4];
	const uint8_t *group;

	bytes_u8(&b);
	code = bytes_u8(&b);
	bytes_be16(&b);
	group = bytes_take(&b, 4);
	if (group == NULL || (len > V2_BYTES && len < V3_QUERY_BYTES))
		return false;
	memcpy(v4, group, 4);
	*q = (struct mcast_query){.interval_ns = INTERVAL_NS, .general = memcmp(v4, "\0\0\0\0", 4) == 0};
	addr_from_v4(q->group, v4);
	if (!q->general && !addr_is_multicast(q->group))
		return false;
	if (len == V2_BYTES) {
		q->age = code == 0 ? 2 : 1;
		q->max_ns = (code == 0 ? 100u : code) * TENTH_NS;
		return true;
	}
	q->max_ns = code_value(code) * TENTH_NS;
	q->robustness = bytes_u8(&b) & 7;
	q->interval_ns = code_value(bytes_u8(&b)) * 10 * TENTH_NS;
	q->n = bytes_be16(&b);
	q->src = bytes_take(&b, q->n * 4u);
	return q->src != NULL && !(q->general && q->n > 0);
}

void igmp_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	uint32_t len = rte_pktmbuf_pkt_len(m);
	struct bytes b = bytes_over(rte_pktmbuf_mtod(m, const void *), rte_pktmbuf_data_len(m));
	const uint8_t *at = rte_pktmbuf_mtod(m, const uint8_t *);
	struct mcast_query q;
	uint8_t group[16];

	if (rte_pktmbuf_data_len(m) < V2_BYTES || mbuf_cksum(m, 0, 0) != 0xffff) {
		net_count_once(e, &e->counters.drop_mcast);
	} else if (at[0] == IGMP_QUERY) {
		if (query_parse(b, len, &q))
			mcast_report_query(&port->iface->mcast[0], &q);
		else
			net_count_once(e, &e->counters.drop_mcast);
	} else if (at[0] == IGMP_V1_REPORT || at[0] == IGMP_V2_REPORT) {
		addr_from_v4(group, at + 4);
		mcast_report_heard(&port->iface->mcast[0], group);
	}
	rte_pktmbuf_free(m);
}
