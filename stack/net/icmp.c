/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP (RFC792, RFC1122:3.2.2): answers echo, reports errors about our packets, sends a limited number. */
#include <string.h>
#include <rte_icmp.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/priv.h"

enum { ICMP_UNREACHABLE = 3, ICMP_TIME_EXCEEDED = 11, ICMP_CKSUM_OFF = 2 };
#define ICMP_QUOTE_BYTES 8u /* of the payload, behind the IP header */

static void echo_reply(struct engine *e, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	uint8_t src[16], dst[16];
	struct ip_path path = {0};

	if (addr_is_multicast(p->dst.addr) || !ip_is_local(e, p->dst.addr)) {
		rte_pktmbuf_free(m); /* broadcast pings are not answered, as Linux */
		return;
	}
	memcpy(src, p->dst.addr, 16);
	memcpy(dst, p->src.addr, 16);
	h->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
	h->icmp_cksum = 0;
	m->ol_flags = 0;
	if (ip_path_resolve(e, &path, dst, src) != 0) {
		rte_pktmbuf_free(m);
		return;
	}
	e->counters.icmp_echo_in++;
	ip_output(e, &path, m, IPPROTO_ICMP, p->tos, IP_TTL_DEFAULT, src, dst, ICMP_CKSUM_OFF);
}

/* Which error, by RFC1122:4.2.3.9 and Linux's table. CV_OK: nothing to tell. */
static enum cv_error unreachable_error(uint8_t type, uint8_t code, bool *hard)
{
	static const struct {
		enum cv_error error;
		bool hard;
	} of[] = {{CV_ENETUNREACH, false}, {CV_EHOSTUNREACH, false}, {CV_ENOPROTOOPT, true},
		{CV_ECONNREFUSED, true}, {CV_EMSGSIZE, false}, {CV_EOPNOTSUPP, false},
		{CV_ENETUNREACH, true}, {CV_EHOSTUNREACH, true}, {CV_ENETUNREACH, true},
		{CV_ENETUNREACH, true}, {CV_EHOSTUNREACH, true}, {CV_ENETUNREACH, false},
		{CV_EHOSTUNREACH, false}, {CV_EHOSTUNREACH, true}};

	*hard = false;
	if (type == ICMP_TIME_EXCEEDED)
		return CV_EHOSTUNREACH;
	if (code >= sizeof(of) / sizeof(of[0]))
		return CV_OK;
	*hard = of[code].hard;
	return of[code].error;
}

static void error_input(struct engine *e, struct rte_mbuf *m, uint8_t type, uint8_t code)
{
	struct bytes b = bytes_over(rte_pktmbuf_mtod(m, void *), rte_pktmbuf_data_len(m));
	struct icmp_error err = {0};
	const uint8_t *inner, *l4;
	uint8_t proto;

	bytes_take(&b, 6);
	err.mtu = bytes_be16(&b);
	inner = bytes_take(&b, IP_HEADER_V4);
	if (inner == NULL || inner[0] >> 4 != 4 || (inner[0] & 0xf) < 5)
		return;
	proto = inner[9];
	addr_from_v4(err.local.addr, inner + 12);
	addr_from_v4(err.peer.addr, inner + 16);
	bytes_take(&b, (inner[0] & 0xfu) * 4u - IP_HEADER_V4);
	l4 = bytes_take(&b, ICMP_QUOTE_BYTES);
	if (l4 == NULL || !ip_is_local(e, err.local.addr))
		return;
	err.local.port = (uint16_t)(l4[0] << 8) | l4[1];
	err.peer.port = (uint16_t)(l4[2] << 8) | l4[3];
	err.seq = (uint32_t)l4[4] << 24 | (uint32_t)l4[5] << 16 | (uint32_t)l4[6] << 8 | l4[7];
	err.error = unreachable_error(type, code, &err.hard);
	if (err.error != CV_EMSGSIZE)
		err.mtu = 0;
	e->counters.icmp_errors_in++;
	for (unsigned i = 0; err.error != CV_OK && i < e->l4_n; i++) {
		if (e->l4[i].proto == proto && e->l4[i].icmp_error != NULL)
			e->l4[i].icmp_error(e, &err);
	}
}

void icmp_input(struct engine *e, struct rte_mbuf *m)
{
	const struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_icmp_hdr *);

	if (rte_pktmbuf_data_len(m) < sizeof(*h)) {
		e->counters.drop_l4_header++;
		rte_pktmbuf_free(m);
		return;
	}
	if (h->icmp_type == RTE_IP_ICMP_ECHO_REQUEST && h->icmp_code == 0) {
		echo_reply(e, m);
		return;
	}
	if (h->icmp_type == ICMP_UNREACHABLE || h->icmp_type == ICMP_TIME_EXCEEDED)
		error_input(e, m, h->icmp_type, h->icmp_code);
	rte_pktmbuf_free(m);
}

static bool icmp_may_send(struct engine *e)
{
	struct net *net = e->net;
	uint64_t second = e->now_ns / 1000000000u;

	if (second != net->icmp_second) {
		net->icmp_second = second;
		net->icmp_sent = 0;
	}
	if (net->icmp_sent >= NET_ICMP_PER_SECOND) {
		e->counters.icmp_rate_limited++;
		return false;
	}
	net->icmp_sent++;
	return true;
}

void icmp_send_port_unreachable(struct engine *e, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	struct rte_mbuf *out;
	struct rte_ipv4_hdr *quote;
	struct ip_path path = {0};
	uint8_t src[16], *bytes;

	/* Never about a packet that many got: RFC1122:3.2.2. */
	if (!addr_is_v4(p->dst.addr) || !ip_is_local(e, p->dst.addr) ||
		rte_pktmbuf_data_len(m) < ICMP_QUOTE_BYTES || !icmp_may_send(e))
		return;
	memcpy(src, p->dst.addr, 16);
	if (ip_path_resolve(e, &path, p->src.addr, src) != 0)
		return;
	out = rte_pktmbuf_alloc(e->pkt_pool);
	if (out == NULL) {
		e->counters.no_mbuf++;
		return;
	}
	bytes = (void *)rte_pktmbuf_append(out, 8 + IP_HEADER_V4 + ICMP_QUOTE_BYTES);
	if (bytes == NULL) {
		rte_pktmbuf_free(out);
		return;
	}
	memset(bytes, 0, 8 + IP_HEADER_V4);
	bytes[0] = ICMP_UNREACHABLE;
	bytes[1] = 3;
	quote = (void *)(bytes + 8);
	quote->version_ihl = 0x45;
	quote->type_of_service = p->tos;
	quote->total_length = rte_cpu_to_be_16((uint16_t)(IP_HEADER_V4 + rte_pktmbuf_pkt_len(m)));
	quote->time_to_live = p->ttl;
	quote->next_proto_id = p->proto;
	memcpy(&quote->src_addr, p->src.addr + 12, 4);
	memcpy(&quote->dst_addr, p->dst.addr + 12, 4);
	quote->hdr_checksum = rte_ipv4_cksum(quote);
	memcpy(quote + 1, rte_pktmbuf_mtod(m, void *), ICMP_QUOTE_BYTES);
	e->counters.icmp_errors_out++;
	ip_output(e, &path, out, IPPROTO_ICMP, 0, IP_TTL_DEFAULT, src, p->src.addr,
		ICMP_CKSUM_OFF);
}
