/* SPDX-License-Identifier: BSD-3-Clause */
/* See ancillary.h. Which messages come, in which order and how a buffer that is too small is filled: as Linux. */
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "shim/ancillary.h"
#include "shim/call.h"
#include "shim/real.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* --- options --- */

static const struct {
	uint16_t opt;
	uint32_t want;
} wants_of[] = {{CV_OPT_PKTINFO, WANT_PKTINFO}, {CV_OPT_PKTINFO6, WANT_PKTINFO6}, {CV_OPT_RECVTTL, WANT_TTL},
	{CV_OPT_RECVTOS, WANT_TOS}, {CV_OPT_RECVHOPS, WANT_HOPS}, {CV_OPT_RECVTCLASS, WANT_TCLASS},
	{CV_OPT_RECVORIGDST, WANT_ORIGDST}, {CV_OPT_RECVORIGDST6, WANT_ORIGDST6}, {CV_OPT_RXQ_OVFL, WANT_DROPS},
	{CV_OPT_TIMESTAMP, WANT_TIME}, {CV_OPT_TIMESTAMPNS, WANT_TIME_NS}, {CV_OPT_UDP_GRO, WANT_GRO}};

/* Options after which a send may be refused though it has room. */
static bool may_refuse(unsigned opt)
{
	return opt == CV_OPT_MTU_DISCOVER || opt == CV_OPT_MTU_DISCOVER6 || opt == CV_OPT_DONTFRAG6 ||
	       opt == CV_OPT_UDP_CORK || opt == CV_OPT_UDP_SEGMENT;
}

void ancillary_note(struct file *f, unsigned opt, const void *value)
{
	struct cv_sock *rec = f->mux.rec;
	int v = 0;

	if (f->type != SOCK_DGRAM)
		return;
	memcpy(&v, value, sizeof(v));
	if (v && (opt == CV_OPT_TIMESTAMP || opt == CV_OPT_TIMESTAMPNS))
		rec->wants &= ~(uint32_t)(WANT_TIME | WANT_TIME_NS);
	if (may_refuse(opt))
		rec->wants |= WANT_ANSWER;
	for (size_t i = 0; i < sizeof(wants_of) / sizeof(wants_of[0]); i++) {
		if (wants_of[i].opt == opt && v)
			rec->wants |= wants_of[i].want;
		else if (wants_of[i].opt == opt)
			rec->wants &= ~wants_of[i].want;
	}
}

/* --- received --- */

struct put {
	uint8_t *at;
	size_t left;
	bool cut;
};

/* As Linux's put_cmsg(). */
static void put(struct put *p, int level, int type, const void *data, size_t len)
{
	struct cmsghdr head = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	size_t space = CMSG_SPACE(len);

	if (!p->at || p->left < sizeof(head)) {
		p->cut = true;
		return;
	}
	if (p->left < head.cmsg_len) {
		p->cut = true;
		head.cmsg_len = p->left;
	}
	if (space > p->left)
		space = p->left;
	memcpy(p->at, &head, sizeof(head));
	memcpy(p->at + CMSG_LEN(0), data, head.cmsg_len - sizeof(head));
	p->at += space;
	p->left -= space;
}

/* The engine says when by the monotonic clock. */
static struct timespec real_time(uint64_t monotonic_ns)
{
	struct timespec real, mono;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	ns = (int64_t)real.tv_sec * 1000000000 + real.tv_nsec - ((int64_t)mono.tv_sec * 1000000000 + mono.tv_nsec) +
	     (int64_t)monotonic_ns;
	return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static void put_extra(struct put *p, uint32_t wants, const struct cv_rxd_extra *extra)
{
	struct timespec at;

	if ((wants & (WANT_TIME | WANT_TIME_NS)) && extra->time_ns != 0) {
		at = real_time(extra->time_ns);
		if (wants & WANT_TIME) {
			struct timeval tv = {at.tv_sec, at.tv_nsec / 1000};

			put(p, SOL_SOCKET, SO_TIMESTAMP, &tv, sizeof(tv));
		} else {
			put(p, SOL_SOCKET, SO_TIMESTAMPNS, &at, sizeof(at));
		}
	}
	if ((wants & WANT_DROPS) && extra->drops != 0)
		put(p, SOL_SOCKET, SO_RXQ_OVFL, &extra->drops, sizeof(extra->drops));
}

/* What came to a group or to everybody is answered from an address of the interface (ip(7)). */
static void answer_from(const struct link *l, const struct cv_rxd *d, struct in_addr *from)
{
	uint8_t addr[16];

	if (link_interface(l, d->local_addr) == 0 && link_interface_address(l, d->ifindex, addr))
		memcpy(from, addr + 12, sizeof(*from));
}

static void put_v4(const struct file *f, struct put *p, uint32_t wants, const struct cv_rxd *d)
{
	struct in_pktinfo info = {.ipi_ifindex = d->ifindex};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f->mux.rec->local.port)};
	int ttl = d->ttl;

	memcpy(&info.ipi_addr, d->local_addr + 12, 4);
	info.ipi_spec_dst = to.sin_addr = info.ipi_addr;
	if (wants & WANT_PKTINFO) {
		answer_from(sock_link(f), d, &info.ipi_spec_dst);
		put(p, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (wants & WANT_TTL)
		put(p, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (wants & WANT_TOS)
		put(p, IPPROTO_IP, IP_TOS, &d->tos, 1);
	if (wants & WANT_ORIGDST)
		put(p, IPPROTO_IP, IP_ORIGDSTADDR, &to, sizeof(to));
}

static void put_v6(const struct file *f, struct put *p, uint32_t wants, const struct cv_rxd *d)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6,
		.sin6_port = htons(f->mux.rec->local.port),
		.sin6_scope_id = d->peer.scope};
	int hops = d->ttl, tclass = d->tos;

	memcpy(&to.sin6_addr, d->local_addr, 16);
	if (wants & WANT_HOPS)
		put(p, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
	if (wants & WANT_TCLASS)
		put(p, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
	if (wants & WANT_ORIGDST6)
		put(p, IPPROTO_IPV6, IPV6_ORIGDSTADDR, &to, sizeof(to));
}

static void put_pktinfo6(struct put *p, const struct cv_rxd *d)
{
	struct in6_pktinfo info = {.ipi6_ifindex = d->ifindex};

	memcpy(&info.ipi6_addr, d->local_addr, 16);
	put(p, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

void ancillary_put(
	const struct file *f, struct msghdr *msg, const struct cv_rxd *d, const struct cv_rxd_extra *extra)
{
	uint32_t wants = f->mux.rec->wants;
	struct put p = {msg->msg_control, msg->msg_control ? msg->msg_controllen : 0, false};
	struct cv_endpoint to = {.port = 0};
	int segment = (int)d->sock;

	memcpy(to.addr, d->local_addr, 16);
	if (wants && extra)
		put_extra(&p, wants, extra);
	if ((wants & WANT_GRO) && segment != 0)
		put(&p, IPPROTO_UDP, UDP_GRO, &segment, sizeof(segment));
	if ((wants & WANT_PKTINFO6) && f->family == AF_INET6)
		put_pktinfo6(&p, d);
	if (wants && address_family(&to) == CV_AF_INET)
		put_v4(f, &p, wants, d);
	else if (wants)
		put_v6(f, &p, wants, d);
	msg->msg_controllen = p.at ? (size_t)(p.at - (uint8_t *)msg->msg_control) : 0;
	if (p.cut)
		msg->msg_flags |= MSG_CTRUNC;
}

/* --- sent --- */

/* An int between the two, into a byte. */
static int take_byte(const struct cmsghdr *c, int least, uint8_t *to)
{
	int v;

	if (c->cmsg_len != CMSG_LEN(sizeof(v)))
		return -EINVAL;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (v < least || v > 255)
		return -EINVAL;
	*to = (uint8_t)v;
	return 0;
}

static void source_v4(struct cv_send_with *with, const void *v4)
{
	memset(with->source, 0, 16);
	memset(with->source + 10, 0xff, 2);
	memcpy(with->source + 12, v4, 4);
}

static int take_pktinfo(const struct cmsghdr *c, struct cv_send_with *with)
{
	static const struct in_addr any;
	struct in_pktinfo info;

	if (c->cmsg_len != CMSG_LEN(sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	if (info.ipi_ifindex != 0) {
		with->ifindex = (uint16_t)info.ipi_ifindex;
		with->what |= CV_WITH_IFINDEX;
	}
	if (memcmp(&info.ipi_spec_dst, &any, sizeof(any)) != 0) {
		source_v4(with, &info.ipi_spec_dst);
		with->what |= CV_WITH_SOURCE;
	}
	return 0;
}

static int take_v4(const struct cmsghdr *c, struct cv_send_with *with)
{
	int error;

	switch (c->cmsg_type) {
	case IP_PKTINFO:
		return take_pktinfo(c, with);
	case IP_TTL:
		with->what |= CV_WITH_TTL;
		return take_byte(c, 1, &with->ttl);
	case IP_TOS:
		with->what |= CV_WITH_TOS;
		error = take_byte(c, 0, &with->tos);
		if (error && c->cmsg_len == CMSG_LEN(1)) {
			with->tos = *CMSG_DATA(c);
			error = 0;
		}
		return error;
	case IP_RETOPTS: /* no options are sent: refused rather than forgotten */
	default:
		return -EINVAL;
	}
}

static int take_pktinfo6(const struct cmsghdr *c, uint8_t to, struct cv_send_with *with)
{
	static const struct in6_addr any;
	struct in6_pktinfo info;

	if (c->cmsg_len < CMSG_LEN(sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	if (to == CV_AF_INET && !IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr))
		return -EINVAL;
	if (info.ipi6_ifindex != 0) {
		with->ifindex = (uint16_t)info.ipi6_ifindex;
		with->what |= CV_WITH_IFINDEX;
	}
	if (memcmp(&info.ipi6_addr, &any, sizeof(any)) != 0) {
		memcpy(with->source, &info.ipi6_addr, 16);
		with->what |= CV_WITH_SOURCE;
	}
	return 0;
}

/* -1 is the kernel's default, which is that of the option: nothing is said. */
static int take_byte6(const struct cmsghdr *c, uint8_t what, uint8_t *to, struct cv_send_with *with)
{
	int v;

	if (c->cmsg_len != CMSG_LEN(sizeof(v)))
		return -EINVAL;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (v < -1 || v > 255)
		return -EINVAL;
	if (v >= 0) {
		*to = (uint8_t)v;
		with->what |= what;
	}
	return 0;
}

static int take_v6(const struct cmsghdr *c, uint8_t to, struct cv_send_with *with)
{
	int error;

	switch (c->cmsg_type) {
	case IPV6_PKTINFO:
		return take_pktinfo6(c, to, with);
	case IPV6_HOPLIMIT:
		return take_byte6(c, CV_WITH_TTL, &with->ttl, with);
	case IPV6_TCLASS:
		return take_byte6(c, CV_WITH_TOS, &with->tos, with);
	case IPV6_DONTFRAG:
		with->what |= CV_WITH_DONTFRAG;
		error = take_byte(c, 0, &with->dontfrag);
		return error || with->dontfrag > 1 ? -EINVAL : 0;
	default: /* extension headers are not sent */
		return -EINVAL;
	}
}

static int take_udp(const struct cmsghdr *c, struct cv_send_with *with)
{
	if (c->cmsg_type != UDP_SEGMENT || c->cmsg_len != CMSG_LEN(sizeof(uint16_t)))
		return -EINVAL;
	memcpy(&with->segment, CMSG_DATA(c), sizeof(with->segment));
	with->what |= CV_WITH_SEGMENT;
	return 0;
}

static int take_one(const struct file *f, const struct cmsghdr *c, uint8_t to, struct cv_send_with *with)
{
	if (c->cmsg_level == IPPROTO_UDP)
		return take_udp(c, with);
	if (c->cmsg_level == SOL_SOCKET) /* SO_MARK, SCM_TXTIME ...: nothing that the engine does */
		return -EINVAL;
	if (c->cmsg_level == IPPROTO_IP && to == CV_AF_INET)
		return take_v4(c, with);
	if (c->cmsg_level == IPPROTO_IPV6 && f->family == AF_INET6) {
		if (to == CV_AF_INET && c->cmsg_type != IPV6_PKTINFO)
			return 0;
		return take_v6(c, to, with);
	}
	return 0; /* another level's: not looked at */
}

int ancillary_take(const struct file *f, const struct msghdr *msg, uint8_t to, struct cv_send_with *with)
{
	memset(with, 0, sizeof(*with));
	if (!msg->msg_control || msg->msg_controllen == 0)
		return 0;
	if (call_bad_pointer(msg->msg_control))
		return -EFAULT;
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
		c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, (struct cmsghdr *)(uintptr_t)c)) {
		size_t left = msg->msg_controllen - (size_t)((const uint8_t *)c - (const uint8_t *)msg->msg_control);
		int error = -EINVAL;

		if (c->cmsg_len >= sizeof(*c) && c->cmsg_len <= left)
			error = take_one(f, c, to, with);
		if (error)
			return error;
	}
	return with->what != 0;
}

/* --- the error queue --- */

struct said {
	struct cv_error_report report;
	uint8_t quoted[CV_ERROR_QUOTED_MAX];
};

static void put_error(const struct file *f, struct msghdr *msg, const struct cv_error_report *r)
{
	struct put p = {msg->msg_control, msg->msg_control ? msg->msg_controllen : 0, false};
	struct {
		struct sock_extended_err ee;
		union {
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		};
	} told = {.ee = {.ee_errno = (uint32_t)link_errno((int)r->error),
			  .ee_origin = r->origin,
			  .ee_type = r->type,
			  .ee_code = r->code,
			  .ee_info = r->info}};
	socklen_t len = f->family == AF_INET6 ? sizeof(told.v6) : sizeof(told.v4);

	if (r->origin != CV_ORIGIN_LOCAL) {
		address_out(&r->offender, f->family, (struct sockaddr *)&told.v4, &len);
		len = f->family == AF_INET6 ? sizeof(told.v6) : sizeof(told.v4);
	}
	if (f->family == AF_INET6)
		put(&p, IPPROTO_IPV6, IPV6_RECVERR, &told, sizeof(told.ee) + len);
	else
		put(&p, IPPROTO_IP, IP_RECVERR, &told, sizeof(told.ee) + len);
	msg->msg_controllen = p.at ? (size_t)(p.at - (uint8_t *)msg->msg_control) : 0;
	msg->msg_flags |= p.cut ? MSG_CTRUNC : 0;
}

ssize_t ancillary_error(int fd, struct file *f, struct msghdr *msg, int flags)
{
	struct cv_command c = {.op = CV_CMD_GETOPT, .arg = CV_OPT_ERRQUEUE};
	struct cv_sock *rec = f->mux.rec;
	struct said said;
	uint32_t len = sizeof(said);
	ssize_t n;
	int error;

	if (f->type != SOCK_DGRAM)
		return -EAGAIN;
	error = sock_call(f, &c, &said, &len);
	if (error == -EAGAIN && f->mux.both) {
		n = quiet_recvmsg(fd, msg, flags);
		return n < 0 ? -errno : n;
	}
	if (error < 0)
		return error;
	if (len < sizeof(said.report) || said.report.quoted > len - sizeof(said.report))
		return -EIO;
	if (!said.report.more) /* else the next one's is pending now */
		rec->error_seen = __atomic_load_n(&rec->error_seq, __ATOMIC_ACQUIRE);
	n = (ssize_t)rx_scatter(msg, said.quoted, said.report.quoted);
	msg->msg_flags = MSG_ERRQUEUE | (n < said.report.quoted ? MSG_TRUNC : 0);
	if (msg->msg_name)
		address_out(&said.report.to, f->family, msg->msg_name, &msg->msg_namelen);
	put_error(f, msg, &said.report);
	return n;
}
