/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP (RFC792, RFC1122:3.2.2) and ICMPv6 (RFC4443): answers echo, passes errors and neighbour
 * discovery on. */
#include <netinet/in.h>
#include <string.h>
#include <rte_icmp.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

/* Turns the request round into its answer; the type is already set. */
static void echo_reply(struct engine *e, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	uint8_t src[16] = {0}, dst[16], proto = p->proto, tos = p->tos;
	struct ip_path path = {0};

	if (ip_is_local(e, p->dst.addr))
		memcpy(src, p->dst.addr, 16);
	memcpy(dst, p->src.addr, 16);
	h->icmp_cksum = 0;
	m->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
	m->tx_offload = 0;
	if (ip_path_resolve(e, &path, dst, src) != 0) {
		rte_pktmbuf_free(m);
		return;
	}
	path.may_fragment = path.no_df = true;
	e->counters.icmp_echo_in++;
	ip_output(e, &path, m, proto, tos, ip_hops(&path, dst), src, dst, ICMP_CKSUM_OFF);
}

static bool header_here(struct engine *e, struct rte_mbuf *m)
{
	if (rte_pktmbuf_data_len(m) >= sizeof(struct rte_icmp_hdr))
		return true;
	e->counters.drop_l4_header++;
	rte_pktmbuf_free(m);
	return false;
}

void icmp_input(struct engine *e, struct rte_mbuf *m)
{
	struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);

	if (!header_here(e, m))
		return;
	/* Broadcast pings are not answered, as Linux. */
	if (h->icmp_type == RTE_IP_ICMP_ECHO_REQUEST && h->icmp_code == 0 &&
		ip_is_local(e, pkt_of(m)->dst.addr)) {
		h->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
		echo_reply(e, m);
		return;
	}
	if (h->icmp_type == ICMP_UNREACHABLE || h->icmp_type == ICMP_TIME_EXCEEDED ||
		h->icmp_type == ICMP_PARAMETER)
		icmp_error_input(e, m);
	rte_pktmbuf_free(m);
}

void icmp6_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);
	const struct pkt *p = pkt_of(m);
	uint8_t type;

	if (!header_here(e, m))
		return;
	type = h->icmp_type;
	if (port != NULL && (type == ICMP6_SOLICIT || type == ICMP6_ADVERT)) {
		nd_input(e, port, m);
		return;
	}
	if (port != NULL && type == ICMP6_ROUTER_ADVERT) {
		ra_input(e, port, m);
		return;
	}
	if (port != NULL && type == ICMP6_REDIRECT) {
		redirect_input(e, port, m);
		return;
	}
	if (port != NULL && mld_is(type)) {
		mld_input(e, port, m);
		return;
	}
	if (addr_is_any(p->src.addr) || (port != NULL && ip_is_local(e, p->src.addr))) {
		e->counters.drop_ip_source++;
		rte_pktmbuf_free(m);
		return;
	}
	if (type == ICMP6_ECHO_REQUEST && h->icmp_code == 0) {
		h->icmp_type = ICMP6_ECHO_REPLY;
		echo_reply(e, m);
		return;
	}
	if (type < 128)
		icmp_error_input(e, m);
	rte_pktmbuf_free(m);
}
