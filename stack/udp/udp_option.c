/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket options: udp(7), ip(7), ipv6(7), socket(7). */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/udp/priv.h"

/* Options that are a flag: 0 when opt is none. */
static uint32_t flag_of(enum cv_option opt)
{
	static const struct {
		uint16_t opt;
		uint32_t flag;
	} of[] = {{CV_OPT_BROADCAST, UDP_BROADCAST}, {CV_OPT_RECVERR, UDP_RECVERR4}, {CV_OPT_RECVERR6, UDP_RECVERR6},
		{CV_OPT_PKTINFO, UDP_PKTINFO4}, {CV_OPT_PKTINFO6, UDP_PKTINFO6}, {CV_OPT_RECVTTL, UDP_RECVTTL},
		{CV_OPT_RECVTOS, UDP_RECVTOS}, {CV_OPT_RECVHOPS, UDP_RECVHOPS},
		{CV_OPT_RECVTCLASS, UDP_RECVTCLASS}, {CV_OPT_RECVORIGDST, UDP_ORIGDST4},
		{CV_OPT_RECVORIGDST6, UDP_ORIGDST6}, {CV_OPT_RXQ_OVFL, UDP_RXQ_OVFL},
		{CV_OPT_TIMESTAMP, UDP_TIMESTAMP}, {CV_OPT_TIMESTAMPNS, UDP_TIMESTAMPNS},
		{CV_OPT_DONTFRAG6, UDP_DONTFRAG6}, {CV_OPT_UDP_CORK, UDP_CORK}, {CV_OPT_UDP_GRO, UDP_GRO}};

	for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		if (of[i].opt == opt)
			return of[i].flag;
	}
	return 0;
}

static int flag_set(struct udp_sock *us, uint32_t flag, bool on)
{
	/* The two kinds of time exclude each other; the errors that nobody wants any more are gone (Linux). */
	if (on && (flag & (UDP_TIMESTAMP | UDP_TIMESTAMPNS)))
		us->flags &= ~(uint32_t)(UDP_TIMESTAMP | UDP_TIMESTAMPNS);
	if (on)
		us->flags |= flag;
	else
		us->flags &= ~flag;
	if (!on && (flag & (UDP_RECVERR4 | UDP_RECVERR6))) {
		udp_errors_drop(us);
		sock_event(&us->sk);
	}
	if (!on && flag == UDP_CORK)
		(void)udp_uncork(us);
	return 0;
}

/* A byte of a header: -1 is its default. */
static int byte_option(uint8_t *field, int least, int of_default, int *value, bool set)
{
	if (set && (*value < -1 || *value > 255 || (*value != -1 && *value < least)))
		return -CV_EINVAL;
	if (set)
		*field = (uint8_t)(*value == -1 ? of_default : *value);
	*value = *field;
	return 0;
}

static int discover_option(uint8_t *field, int *value, bool set)
{
	if (set && (*value < PMTUDISC_DONT || *value > PMTUDISC_OMIT))
		return -CV_EINVAL;
	if (set)
		*field = (uint8_t)*value;
	*value = *field;
	return 0;
}

/* IP_MTU, IPV6_MTU: of the path to the peer, as it is known now. */
static int mtu_option(struct udp_sock *us, int *value, bool set)
{
	struct sock *sk = &us->sk;
	uint8_t src[16];

	if (set)
		return -CV_ENOPROTOOPT;
	if (!(sk->status & CV_ST_CONNECTED))
		return -CV_ENOTCONN;
	udp_source_of(sk, src);
	us->peer.plain = false;
	(void)ip_path_resolve_via(sk->engine, &us->peer.path, sk->peer.addr, src, us->device);
	*value = us->peer.path.pmtu;
	return 0;
}

static int hops_option(struct udp_sock *us, int *value, bool set)
{
	if (set && (*value < -1 || *value > 255))
		return -CV_EINVAL;
	if (set)
		us->hops = (int16_t)*value;
	*value = us->hops < 0 ? ip_hops(&us->peer.path, us->sk.peer.addr) : us->hops;
	return 0;
}

static int segment_option(struct udp_sock *us, int *value, bool set)
{
	if (set && (*value < 0 || *value > UINT16_MAX))
		return -CV_EINVAL;
	if (set)
		us->segment = (uint16_t)*value;
	*value = us->segment;
	return 0;
}

static int int_option(struct udp_sock *us, enum cv_option opt, int *value, bool set)
{
	struct sock *sk = &us->sk;

	switch ((unsigned)opt) {
	case CV_OPT_SNDBUF:
	case CV_OPT_RCVBUF: {
		uint32_t *field = opt == CV_OPT_SNDBUF ? &sk->sndbuf : &sk->rcvbuf;

		if (set)
			*field = (uint32_t)*value;
		*value = (int)*field;
		return 0;
	}
	case CV_OPT_TOS:
		if (set)
			us->tos = (uint8_t)*value;
		*value = us->tos;
		return 0;
	case CV_OPT_TCLASS:
		return byte_option(&us->tclass, 0, 0, value, set);
	case CV_OPT_TTL:
		return byte_option(&us->ttl, 1, IP_TTL_DEFAULT, value, set);
	case CV_OPT_UNICAST_HOPS:
		return hops_option(us, value, set);
	case CV_OPT_MTU_DISCOVER:
		return discover_option(&us->mtu_discover, value, set);
	case CV_OPT_MTU_DISCOVER6:
		return discover_option(&us->mtu_discover6, value, set);
	case CV_OPT_MTU:
	case CV_OPT_MTU6:
		return mtu_option(us, value, set);
	case CV_OPT_UDP_SEGMENT:
		return segment_option(us, value, set);
	default:
		return -CV_ENOPROTOOPT;
	}
}

/* By the name that the configuration gives the port, or the kernel its device; told as programs know it. */
static int device_set(struct udp_sock *us, const void *value, uint32_t len)
{
	const struct engine *e = us->sk.engine;
	char name[CV_DEVICE_NAME_BYTES] = "";
	struct port *port;

	memcpy(name, value, len < sizeof(name) - 1 ? len : sizeof(name) - 1);
	us->peer.path.gen = us->last.to.path.gen = 0;
	if (name[0] == '\0')
		return udp_device_change(us, 0);
	port = net_port_by_name(e, name);
	return port != NULL ? udp_device_change(us, port->ifindex) : -CV_ENODEV;
}

static int device_get(const struct udp_sock *us, void *value, uint32_t *len)
{
	const struct port *port = us->device ? net_port_by_ifindex(us->sk.engine, us->device) : NULL;
	char name[CV_DEVICE_NAME_BYTES] = "";

	if (port == NULL) {
		*len = 0;
		return 0;
	}
	if (*len < sizeof(name))
		return -CV_EINVAL;
	memcpy(name, port->shown[0] != '\0' ? port->shown : port->name, sizeof(name) - 1);
	*len = (uint32_t)strlen(name) + 1;
	memcpy(value, name, *len);
	return 0;
}

int udp_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len)
{
	struct udp_sock *us = udp_of(sk);
	uint32_t flag = flag_of(opt);
	int v, ret = -CV_ENOPROTOOPT;

	if (opt == CV_OPT_BINDTODEVICE)
		return device_set(us, value, len);
	if (len >= sizeof(v)) {
		memcpy(&v, value, sizeof(v));
		ret = flag != 0 ? flag_set(us, flag, v != 0) : int_option(us, opt, &v, true);
	}
	if (ret == -CV_ENOPROTOOPT)
		ret = mcast_setopt(sk->engine, &us->mcast, sk->family, opt, value, len);
	/* What datagrams are sent with may be something else now. */
	us->last.to.path.gen = us->peer.path.gen = 0;
	return ret;
}

int udp_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len)
{
	struct udp_sock *us = udp_of(sk);
	uint32_t flag = flag_of(opt);
	int v = 0, ret = 0;

	if (opt == CV_OPT_BINDTODEVICE)
		return device_get(us, value, len);
	if (opt == CV_OPT_ERRQUEUE)
		return udp_error_take(us, value, len);
	if (flag != 0)
		v = (us->flags & flag) != 0;
	else
		ret = int_option(us, opt, &v, false);
	if (ret == -CV_ENOPROTOOPT)
		return mcast_getopt(sk->engine, us->mcast, sk->family, opt, value, len);
	if (ret != 0)
		return ret;
	if (*len > sizeof(v))
		*len = sizeof(v);
	memcpy(value, &v, *len);
	return 0;
}
