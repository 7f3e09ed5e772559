/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors of both families: those that we send (RFC1122:3.2.2, RFC4443:2.4, limited in number),
 * and those that speak of our packets, for the protocol that sent them.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/priv.h"

#define QUOTE_L4_BYTES 8u
/* An error packet is no longer than what every path takes. */
#define ERROR_BYTES_V4 576u
#define ERROR_BYTES_V6 IP6_MTU_MIN
#define ERROR_HEADER 8u

/* Which error, by RFC1122:4.2.3.9 and Linux's table. CV_OK: nothing to tell. */
static enum cv_error unreachable_v4(uint8_t type, uint8_t code, bool *hard)
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
	if (type == ICMP_PARAMETER) {
		*hard = true;
		return CV_EPROTO;
	}
	if (type != ICMP_UNREACHABLE || code >= sizeof(of) / sizeof(of[0]))
		return CV_OK;
	*hard = of[code].hard;
	return of[code].error;
}

/* The same of ICMPv6 (RFC4443:3). */
static enum cv_error unreachable_v6(uint8_t type, uint8_t code, bool *hard)
{
	static const struct {
		enum cv_error error;
		bool hard;
	} of[] = {{CV_ENETUNREACH, false}, {CV_EACCES, true}, {CV_EHOSTUNREACH, false},
		{CV_EHOSTUNREACH, false}, {CV_ECONNREFUSED, true}, {CV_EACCES, true},
		{CV_EACCES, true}};

	*hard = type == ICMP6_PARAMETER;
	switch (type) {
	case ICMP6_TOO_BIG:
		return CV_EMSGSIZE;
	case ICMP6_TIME_EXCEEDED:
		return CV_EHOSTUNREACH;
	case ICMP6_PARAMETER:
		return CV_EPROTO;
	case ICMP6_UNREACHABLE:
		if (code >= sizeof(of) / sizeof(of[0]))
			return CV_EPROTO;
		*hard = of[code].hard;
		return of[code].error;
	default: /* an error that nobody knows is one all the same: RFC4443:2.4 (a) */
		return CV_EPROTO;
	}
}

/* An address as it stood on the wire of a port; scope: the port's number. */
static void endpoint_scoped(struct cv_endpoint *end, const uint8_t addr[16], uint16_t scope)
{
	memcpy(end->addr, addr, 16);
	if (addr_is_scoped(addr))
		addr_scope_set(end->addr, scope);
}

/* The packet of ours in b: its ends, and what stands behind the ports. False: not one, or a
 * fragment without ports. *len: its length as sent. */
static bool quote_parse(struct bytes *b, uint16_t scope, struct icmp_error *err, uint8_t *proto, uint16_t *len)
{
	const uint8_t *h = bytes_take(b, 1), *l4;
	uint8_t skip;

	if (h != NULL && h[0] >> 4 == 4 && (h[0] & 0xf) >= 5) {
		skip = (uint8_t)((h[0] & 0xf) * 4 - IP_HEADER_V4);
		if (bytes_take(b, IP_HEADER_V4 - 1) == NULL || ((h[6] & 0x1f) | h[7]) != 0)
			return false;
		*proto = h[9];
		*len = (uint16_t)(h[2] << 8 | h[3]);
		addr_from_v4(err->local.addr, h + 12);
		addr_from_v4(err->peer.addr, h + 16);
		bytes_take(b, skip);
	} else if (h != NULL && h[0] >> 4 == 6) {
		if (bytes_take(b, IP_HEADER_V6 - 1) == NULL || addr_is_v4(h + 8) ||
			addr_is_v4(h + 24))
			return false;
		*proto = h[6];
		*len = (uint16_t)(IP_HEADER_V6 + (h[4] << 8 | h[5]));
		endpoint_scoped(&err->local, h + 8, scope);
		endpoint_scoped(&err->peer, h + 24, scope);
		if (*proto == IPPROTO_FRAGMENT) { /* the only extension header that we send */
			const uint8_t *f = bytes_take(b, 8);

			if (f == NULL || f[2] != 0 || (f[3] & 0xf8) != 0)
				return false;
			*proto = f[0];
		}
	} else {
		return false;
	}
	l4 = bytes_take(b, QUOTE_L4_BYTES);
	if (l4 == NULL)
		return false;
	err->local.port = (uint16_t)(l4[0] << 8 | l4[1]);
	err->peer.port = (uint16_t)(l4[2] << 8 | l4[3]);
	err->seq = (uint32_t)l4[4] << 24 | (uint32_t)l4[5] << 16 | (uint32_t)l4[6] << 8 | l4[7];
	err->quote = b->at;
	err->quote_len = (uint16_t)bytes_left(b);
	return true;
}

static void tell(struct engine *e, uint8_t proto, const struct icmp_error *err)
{
	for (unsigned i = 0; i < e->l4_n; i++) {
		if (e->l4[i].proto == proto && e->l4[i].icmp_error != NULL)
			e->l4[i].icmp_error(e, err);
	}
}

/* A router older than RFC1191 does not say how much it takes: the next plateau below (its
 * section 7.1). */
static uint16_t plateau_below(uint16_t len)
{
	static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};

	for (unsigned i = 0; i < sizeof(plateaus) / sizeof(plateaus[0]); i++) {
		if (plateaus[i] < len)
			return plateaus[i];
	}
	return 68;
}

/* Which port's link-local addresses a message means: that by which it came; from ourselves, that of the address which
 * it came from. */
static uint16_t scope_of(const struct engine *e, const struct pkt *p)
{
	const struct port *port = net_port_by_id(e, p->port);

	if (port != NULL)
		return port->ifindex;
	return addr_is_scoped(p->src.addr) ? addr_scope(p->src.addr) : 0;
}

void icmp_error_input(struct engine *e, struct rte_mbuf *m)
{
	struct bytes b = bytes_over(rte_pktmbuf_mtod(m, const void *), rte_pktmbuf_data_len(m));
	const struct pkt *p = pkt_of(m);
	bool v4 = addr_is_v4(p->src.addr);
	struct icmp_error err = {0};
	uint8_t type = bytes_u8(&b), code = bytes_u8(&b), proto;
	uint32_t info;
	uint16_t len;

	bytes_be16(&b);
	info = bytes_be32(&b);
	if (!quote_parse(&b, scope_of(e, p), &err, &proto, &len) || addr_is_v4(err.local.addr) != v4 ||
		!ip_is_local(e, err.local.addr))
		return;
	err.error =
		v4 ? unreachable_v4(type, code, &err.hard) : unreachable_v6(type, code, &err.hard);
	if (err.error == CV_OK)
		return;
	err.port = p->port;
	err.type = type;
	err.code = code;
	memcpy(err.offender, p->src.addr, 16);
	if (v4) /* of a parameter problem the pointer; of others, only what follows says something */
		err.info = type == ICMP_PARAMETER ? info >> 24 : 0;
	else
		err.info = info;
	if (err.error == CV_EMSGSIZE) {
		if (v4) { /* the upper half is unused, and not always zero */
			err.info = info & 0xffff;
			info = err.info != 0 ? err.info : plateau_below(len);
		}
		err.mtu = info > UINT16_MAX ? UINT16_MAX : (uint16_t)info;
		/* RFC8201:4; and what would have passed was not refused for its size (RFC5927:7.2). */
		if ((!v4 && err.mtu < IP6_MTU_MIN) || len <= err.mtu) {
			net_count_once(e, &e->counters.icmp_errors_refused);
			return;
		}
	}
	net_count_once(e, &e->counters.icmp_errors_in);
	tell(e, proto, &err);
}

void icmp_error_unreachable(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	struct bytes b = bytes_over(rte_pktmbuf_mtod(m, const void *), rte_pktmbuf_data_len(m));
	struct icmp_error err = {.error = CV_EHOSTUNREACH};
	uint8_t proto;
	uint16_t len;

	if (!quote_parse(&b, port->ifindex, &err, &proto, &len))
		return;
	err.port = port->id;
	/* As if a router had said it, which we are: host, or address, unreachable. */
	err.type = addr_is_v4(err.peer.addr) ? ICMP_UNREACHABLE : ICMP6_UNREACHABLE;
	err.code = addr_is_v4(err.peer.addr) ? 1 : 3;
	memcpy(err.offender, err.local.addr, 16);
	tell(e, proto, &err);
}

/* Takes a token of a bucket that gets one every each_ns and holds `most`. */
static bool token_take(struct icmp_bucket *b, uint64_t now_ns, uint64_t each_ns, uint64_t most)
{
	if (b->due_ns > now_ns + (most - 1) * each_ns)
		return false;
	b->due_ns = (b->due_ns > now_ns ? b->due_ns : now_ns) + each_ns;
	return true;
}

/* Two buckets (RFC4443:2.4 (f), RFC1812:4.3.2.8; the numbers are Linux's): one for each destination, so that one
 * cannot use up what others are to hear, and one for all. How much the latter takes away is not quite the same
 * each time: nobody may learn from outside how many errors went to somebody else. */
static bool icmp_may_send(struct engine *e, const struct pkt *about)
{
	struct net *net = e->net;
	uint64_t words[2];
	struct icmp_bucket *b;

	if (about->port == PORT_LOOPBACK)
		return true;
	memcpy(words, about->src.addr, 16);
	b = &net->icmp_to[siphash13(&net->key, words, 2, 0) % ICMP_BUCKETS];
	if (!token_take(b, e->now_ns, ICMP_EACH_NS, ICMP_EACH_BURST) ||
		!token_take(&net->icmp_all, e->now_ns, ICMP_ALL_NS, ICMP_ALL_BURST)) {
		e->counters.icmp_rate_limited++;
		return false;
	}
	net->icmp_all.due_ns += e->env.random64(e->env.ctx) % ICMP_ALL_NS;
	return true;
}

static bool is_icmp_error(uint8_t proto, uint8_t type)
{
	if (proto == IPPROTO_ICMP) /* all but questions and answers */
		return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == 4 ||
		       type == 5 || type == 12;
	return proto == IPPROTO_ICMPV6 && type < 128;
}

/* Whether a packet carries an ICMP error, as far as it can be seen (RFC4443:2.4 (e.1)). whole: an IPv6 header is in
 * front, and perhaps others. */
static bool carries_error(const struct rte_mbuf *m, const struct pkt *p, bool whole)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = rte_pktmbuf_data_len(m), at = whole ? IP_HEADER_V6 : 0;
	uint8_t next = whole ? h[6] : p->proto;

	while (whole && at + 8 <= len &&
		(next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING ||
			next == IPPROTO_FRAGMENT)) {
		const uint8_t *ext = h + at;

		if (next == IPPROTO_FRAGMENT && (ext[2] != 0 || (ext[3] & 0xf8) != 0))
			return false; /* a later piece: nobody knows of what */
		at += next == IPPROTO_FRAGMENT ? 8 : (ext[1] + 1u) * 8;
		next = ext[0];
	}
	return at < len && is_icmp_error(next, h[at]);
}

/* Never about an error, nor about what many got, be it by their frame only, nor to nobody in particular: RFC1122:3.2.2,
 * RFC4443:2.4 (e). Two ICMPv6 errors may answer a group's packet. */
static bool may_complain(
	struct engine *e, struct rte_mbuf *m, bool whole, uint8_t type, uint8_t code)
{
	const struct pkt *p = pkt_of(m);
	bool v4 = addr_is_v4(p->dst.addr);

	if (addr_is_any(p->src.addr) || addr_is_multicast(p->src.addr) ||
		ip_is_broadcast(e, p->src.addr) ||
		(p->port != PORT_LOOPBACK && ip_is_local(e, p->src.addr)))
		return false;
	if ((p->to_all || !ip_is_local(e, p->dst.addr)) &&
		(v4 || type != ICMP6_PARAMETER || code != 2 || !(p->to_all || addr_is_multicast(p->dst.addr))))
		return false;
	return !carries_error(m, p, whole) && icmp_may_send(e, p);
}

/* The IP header of m as it was but for what we do not keep (identification, options); its length.
 */
static uint16_t header_rebuild(uint8_t at[IP_HEADER_V6], struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	uint16_t len = (uint16_t)rte_pktmbuf_pkt_len(m);
	struct rte_ipv4_hdr h4 = {.version_ihl = 0x45};
	struct rte_ipv6_hdr h6;

	if (!addr_is_v4(p->dst.addr)) {
		h6.vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)p->tos << 20);
		h6.payload_len = rte_cpu_to_be_16(len);
		h6.proto = p->proto;
		h6.hop_limits = p->ttl;
		addr_to_wire(h6.src_addr, p->src.addr);
		addr_to_wire(h6.dst_addr, p->dst.addr);
		memcpy(at, &h6, sizeof(h6));
		return sizeof(h6);
	}
	h4.type_of_service = p->tos;
	h4.total_length = rte_cpu_to_be_16((uint16_t)(IP_HEADER_V4 + len));
	h4.time_to_live = p->ttl;
	h4.next_proto_id = p->proto;
	memcpy(&h4.src_addr, p->src.addr + 12, 4);
	memcpy(&h4.dst_addr, p->dst.addr + 12, 4);
	h4.hdr_checksum = rte_ipv4_cksum(&h4);
	memcpy(at, &h4, sizeof(h4));
	return sizeof(h4);
}

/* The ICMP message without checksum, NULL without a buffer. */
static struct rte_mbuf *error_build(
	struct engine *e, struct rte_mbuf *m, bool whole, uint8_t type, uint8_t code, uint32_t info)
{
	bool v4 = addr_is_v4(pkt_of(m)->dst.addr);
	uint32_t max = v4 ? ERROR_BYTES_V4 - IP_HEADER_V4 : ERROR_BYTES_V6 - IP_HEADER_V6;
	uint32_t quote = rte_pktmbuf_pkt_len(m);
	struct rte_mbuf *out = rte_pktmbuf_alloc(e->pkt_pool);
	uint8_t header[IP_HEADER_V6], *h;
	uint16_t rebuilt = whole ? 0 : header_rebuild(header, m);
	const void *from;

	if (quote > max - ERROR_HEADER - rebuilt)
		quote = max - ERROR_HEADER - rebuilt;
	h = out ? (void *)rte_pktmbuf_append(out, (uint16_t)(ERROR_HEADER + rebuilt + quote))
		: NULL;
	if (h == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(out);
		return NULL;
	}
	memset(h, 0, ERROR_HEADER);
	h[0] = type;
	h[1] = code;
	info = rte_cpu_to_be_32(info);
	memcpy(h + 4, &info, 4);
	memcpy(h + ERROR_HEADER, header, rebuilt);
	h += ERROR_HEADER + rebuilt;
	from = rte_pktmbuf_read(m, 0, quote, h);
	if (from != h) /* it lay in one piece and was not copied yet */
		memcpy(h, from, quote);
	return out;
}

void icmp_error_send(
	struct engine *e, struct rte_mbuf *m, bool whole, uint8_t type, uint8_t code, uint32_t info)
{
	const struct pkt *p = pkt_of(m);
	uint8_t src[16] = {0}, proto = addr_is_v4(p->dst.addr) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct ip_path path = {0};
	struct rte_mbuf *out;

	if (!may_complain(e, m, whole, type, code))
		return;
	if (!addr_is_multicast(p->dst.addr))
		memcpy(src, p->dst.addr, 16);
	if (ip_path_resolve(e, &path, p->src.addr, src) != 0)
		return;
	out = error_build(e, m, whole, type, code, info);
	if (out == NULL)
		return;
	path.no_df = true;
	e->counters.icmp_errors_out++;
	ip_output(e, &path, out, proto, 0, ip_hops(&path, p->src.addr), src, p->src.addr, ICMP_CKSUM_OFF);
}

void icmp_send_port_unreachable(struct engine *e, struct rte_mbuf *m)
{
	if (addr_is_v4(pkt_of(m)->dst.addr))
		icmp_error_send(e, m, false, ICMP_UNREACHABLE, ICMP_PORT, 0);
	else
		icmp_error_send(e, m, false, ICMP6_UNREACHABLE, 4, 0);
}
