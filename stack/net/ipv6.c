/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way in of IPv6 (RFC8200): fixed header, extension headers with limits, fragments. Extension
 * headers must lie in the first buffer of a packet; there are few of them, and they are short.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/priv.h"

#define EXT_HEADERS_MAX 8u /* Linux has no limit on headers but on options */
#define EXT_OPTIONS_MAX 8u /* as Linux, padding apart */

#define DROP(reason)                                                                               \
	do {                                                                                       \
		e->counters.reason++;                                                              \
		rte_pktmbuf_free(m);                                                               \
		return NULL;                                                                       \
	} while (0)

/* ICMPv6 parameter problem codes (RFC4443:3.4) */
enum { PARAM_HEADER = 0, PARAM_NEXT_HEADER = 1, PARAM_OPTION = 2, PARAM_CHAIN = 3 };

enum ext_verdict { EXT_NEXT, EXT_UPPER, EXT_FRAGMENT, EXT_DROP };

/* Where the walk over the extension headers is. at: bytes from the IPv6 header. */
struct ext_walk {
	uint32_t at;
	uint32_t next_at; /* where the number of the header at `at` stands */
	uint8_t next;
	bool whole; /* the IPv6 header is still in front: false behind reassembly */
	bool fragment; /* there was a fragment header */
	unsigned seen;
	struct frag_id frag;
};

/* pointer counts from the IPv6 header. */
static void complain(struct engine *e, struct rte_mbuf *m, const struct ext_walk *w, uint8_t code,
	uint32_t pointer)
{
	if (w->whole)
		icmp_error_send(e, m, true, ICMP6_PARAMETER, code, pointer);
}

/* From the wire: with its scope (addr.h). */
static void endpoint_set(struct cv_endpoint *end, const uint8_t addr[16], const struct port *port)
{
	memcpy(end->addr, addr, 16);
	end->scope = 0;
	if (addr_is_scoped(addr)) {
		addr_scope_set(end->addr, port->ifindex);
		end->scope = port->ifindex;
	}
}

/* A mapped address on the wire would pass for IPv4 everywhere behind this. */
static bool ipv6_is_for_us(const struct engine *e, const struct port *port, const uint8_t dst[16])
{
	if (addr_is_v4(dst) || addr_is_loopback(dst))
		return false;
	if (dst[0] == 0xff)
		return mcast_is_member(port, dst);
	return ip_is_local(e, dst);
}

static bool ipv6_source_possible(const uint8_t src[16])
{
	return src[0] != 0xff && !addr_is_v4(src) && !addr_is_loopback(src);
}

/* Neighbour discovery looks itself at :: and at our own addresses: they mean a duplicate. */
static bool ipv6_source_ok(const struct engine *e, const struct pkt *p)
{
	return p->proto == IPPROTO_ICMPV6 ||
	       (!addr_is_any(p->src.addr) && !ip_is_local(e, p->src.addr));
}

/* RFC8200:4.2. True: go on. pointer: where the option is that we must complain about, if tell. */
static bool options_ok(
	struct bytes b, const uint8_t *base, bool group, bool *tell, uint32_t *pointer)
{
	unsigned seen = 0;

	*tell = false;
	while (bytes_left(&b) > 0) {
		const uint8_t *at = b.at;
		uint8_t type = bytes_u8(&b);

		if (type == 0) /* Pad1 */
			continue;
		bytes_take(&b, bytes_u8(&b));
		if (b.bad)
			return false;
		if (type == 1) /* PadN */
			continue;
		if (type >> 6 != 0) {
			*tell = type >> 6 == 2 || (type >> 6 == 3 && !group);
			*pointer = (uint32_t)(at - base);
			return false;
		}
		if (++seen > EXT_OPTIONS_MAX)
			return false;
	}
	return true;
}

static enum ext_verdict ext_options(struct engine *e, struct rte_mbuf *m, const struct ext_walk *w,
	const uint8_t *h, uint32_t len)
{
	const uint8_t *base = rte_pktmbuf_mtod(m, const uint8_t *);
	bool tell, group = pkt_of(m)->dst.addr[0] == 0xff;
	uint32_t pointer;

	if (options_ok(bytes_over(h + 2, len - 2), base, group, &tell, &pointer))
		return EXT_NEXT;
	if (tell)
		complain(e, m, w, PARAM_OPTION, pointer);
	return EXT_DROP;
}

/* A routing header that still has somewhere to go is not for us (RFC5095, RFC8200:4.4). */
static enum ext_verdict ext_routing(
	struct engine *e, struct rte_mbuf *m, const struct ext_walk *w, const uint8_t *h)
{
	if (h[3] == 0)
		return EXT_NEXT;
	complain(e, m, w, PARAM_HEADER, w->at + 2);
	return EXT_DROP;
}

static enum ext_verdict ext_fragment(struct ext_walk *w, const uint8_t *h)
{
	uint16_t word = (uint16_t)(h[2] << 8 | h[3]);

	w->frag.off = word & 0xfff8u;
	w->frag.more = word & 1;
	w->fragment = true;
	w->frag.id = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
	return w->frag.off != 0 || w->frag.more ? EXT_FRAGMENT : EXT_NEXT; /* atomic: RFC6946 */
}

/* One header. EXT_NEXT and EXT_FRAGMENT: w stands behind it. */
static enum ext_verdict ext_one(struct engine *e, struct rte_mbuf *m, struct ext_walk *w)
{
	const uint8_t *h = rte_pktmbuf_mtod_offset(m, const uint8_t *, w->at);
	uint32_t room = rte_pktmbuf_data_len(m) - w->at, len;
	enum ext_verdict v = EXT_NEXT;

	if (w->next != IPPROTO_HOPOPTS && w->next != IPPROTO_DSTOPTS &&
		w->next != IPPROTO_ROUTING && w->next != IPPROTO_FRAGMENT)
		return EXT_UPPER;
	if (room < 8 || ++w->seen > EXT_HEADERS_MAX)
		return EXT_DROP;
	len = w->next == IPPROTO_FRAGMENT ? 8 : (h[1] + 1u) * 8;
	if (len > room)
		return EXT_DROP;
	if (w->next == IPPROTO_FRAGMENT) {
		v = ext_fragment(w, h);
	} else if (w->next == IPPROTO_ROUTING) {
		v = ext_routing(e, m, w, h);
	} else if (w->next == IPPROTO_HOPOPTS && w->next_at != 6) { /* only first */
		complain(e, m, w, PARAM_NEXT_HEADER, w->next_at);
		v = EXT_DROP;
	} else {
		v = ext_options(e, m, w, h, len);
	}
	w->next_at = w->at;
	w->next = h[0];
	w->at += len;
	return v;
}

/* The least that a protocol's own header has; 0: of one that we do not know. */
static uint32_t upper_bytes(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

/* Whether all headers lie in a first fragment, the upper layer's included (RFC8200:4.5, RFC7112:5): what is decided by
 * them must not need the next one. at, next: behind the fragment header. */
static bool chain_is_whole(const struct rte_mbuf *m, uint32_t at, uint8_t next)
{
	uint32_t len = rte_pktmbuf_data_len(m);

	while (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING) {
		const uint8_t *h = rte_pktmbuf_mtod_offset(m, const uint8_t *, at);

		if (len - at < 8 || len - at < (h[1] + 1u) * 8)
			return false;
		at += (h[1] + 1u) * 8;
		next = h[0];
	}
	return len - at >= upper_bytes(next);
}

static bool upper_is_known(const struct engine *e, uint8_t next)
{
	if (next == IPPROTO_ICMPV6)
		return true;
	for (unsigned i = 0; i < e->l4_n; i++) {
		if (e->l4[i].proto == next)
			return true;
	}
	return false;
}

/* m: data at the IPv6 header (reassembled: at what followed the fragment header). Returns m with
 * data at the payload, or NULL. */
static struct rte_mbuf *ext_headers(struct engine *e, struct rte_mbuf *m, struct ext_walk *w)
{
	enum ext_verdict v;
	struct pkt *p = pkt_of(m);

	while ((v = ext_one(e, m, w)) == EXT_NEXT)
		;
	if (v == EXT_DROP || (v == EXT_FRAGMENT && !w->whole)) /* fragments of fragments */
		DROP(drop_ip6_extension);
	p->proto = w->next;
	if (v == EXT_UPPER && w->next == IPPROTO_NONE) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	if (v == EXT_UPPER && !upper_is_known(e, w->next)) {
		complain(e, m, w, PARAM_NEXT_HEADER, w->next_at);
		DROP(drop_ip_protocol);
	}
	if (v == EXT_FRAGMENT && w->frag.more && (rte_pktmbuf_pkt_len(m) - w->at) % 8 != 0) {
		complain(e, m, w, PARAM_HEADER, 4); /* the payload length */
		DROP(drop_ip_fragment);
	}
	if (v == EXT_FRAGMENT && w->frag.off + rte_pktmbuf_pkt_len(m) - w->at > IP_PAYLOAD_MAX_V6) {
		complain(e, m, w, PARAM_HEADER, w->at - 6); /* the fragment offset */
		DROP(drop_ip_fragment);
	}
	if (v == EXT_FRAGMENT && w->frag.off == 0 && !chain_is_whole(m, w->at, w->next)) {
		complain(e, m, w, PARAM_CHAIN, 0);
		DROP(drop_ip_fragment);
	}
	rte_pktmbuf_adj(m, (uint16_t)w->at);
	if (v == EXT_UPPER)
		return m;
	m = reass_input(e, m, &w->frag);
	if (m == NULL)
		return NULL;
	*w = (struct ext_walk){.next = pkt_of(m)->proto, .fragment = true};
	return ext_headers(e, m, w);
}

/* Neighbours have no reason to cut their messages, but for deceiving who watches the link (RFC6980:5). */
static bool is_cut_discovery(const struct rte_mbuf *m, const struct ext_walk *w, const struct pkt *p)
{
	const uint8_t *type = rte_pktmbuf_mtod(m, const uint8_t *);

	return w->fragment && p->proto == IPPROTO_ICMPV6 && rte_pktmbuf_data_len(m) > 0 &&
	       *type >= ICMP6_ROUTER_SOLICIT && *type <= ICMP6_REDIRECT;
}

struct rte_mbuf *ipv6_parse(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	const struct rte_ipv6_hdr *h = rte_pktmbuf_mtod(m, const struct rte_ipv6_hdr *);
	struct pkt *p = pkt_of(m);
	struct ext_walk w = {.at = IP_HEADER_V6, .next_at = 6, .whole = true};
	uint32_t vtc, total;

	if (rte_pktmbuf_data_len(m) < sizeof(*h))
		DROP(drop_short);
	vtc = rte_be_to_cpu_32(h->vtc_flow);
	total = IP_HEADER_V6 + (uint32_t)rte_be_to_cpu_16(h->payload_len);
	if (vtc >> 28 != 6 || total > rte_pktmbuf_pkt_len(m))
		DROP(drop_ip_header);
	endpoint_set(&p->src, h->src_addr, port);
	endpoint_set(&p->dst, h->dst_addr, port);
	p->port = port->id;
	p->proto = w.next = h->proto;
	p->tos = (uint8_t)(vtc >> 20);
	p->ttl = h->hop_limits;
	if (!ipv6_is_for_us(e, port, p->dst.addr))
		DROP(drop_not_for_us);
	if (!ipv6_source_possible(p->src.addr))
		DROP(drop_ip_source);
	if (rte_pktmbuf_pkt_len(m) > total)
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - total);
	m = ext_headers(e, m, &w);
	if (m == NULL)
		return NULL;
	p = pkt_of(m);
	if (cv_unlikely(is_cut_discovery(m, &w, p)))
		DROP(drop_nd);
	if (!ipv6_source_ok(e, p))
		DROP(drop_ip_source);
	if (!l4_cksum_ok(port, m, p))
		DROP(drop_l4_checksum);
	return m;
}
