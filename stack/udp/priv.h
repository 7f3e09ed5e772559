/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of stack/udp/ share. */
#ifndef CULVERT_UDP_PRIV_H
#define CULVERT_UDP_PRIV_H

#include "stack/base/pool.h"
#include "stack/base/siphash.h"
#include "stack/udp/udp.h"

#define UDP_BUCKETS 16384u /* four ports each: all of 65,536 sockets may have one of their own */
#define UDP_HEADER_BYTES 8u
#define UDP_ERRORS_MAX 32u /* that wait to be read at one socket */

struct udp {
	struct pool socks;
	struct list buckets[UDP_BUCKETS];
	struct siphash_key key; /* which of several sockets gets a sender's datagrams */
};

/* Linux's IP_PMTUDISC_* */
enum {
	PMTUDISC_DONT,
	PMTUDISC_WANT,
	PMTUDISC_DO,
	PMTUDISC_PROBE,
	PMTUDISC_INTERFACE,
	PMTUDISC_OMIT
};

static inline struct udp_sock *udp_of(struct sock *sk)
{
	return cv_container_of(sk, struct udp_sock, sk);
}

static inline struct list *udp_bucket(struct udp *udp, uint16_t port)
{
	return &udp->buckets[port % UDP_BUCKETS];
}

/* udp_table.c */
/* struct sock_proto.bind */
int udp_bind(struct sock *sk, const struct cv_endpoint *local);
/* Binds to the wildcard and any port what is not bound yet. */
int udp_autobind(struct sock *sk);
/* The same before a connect: of several workers' ports one whose answers a device with RSS brings to us. */
int udp_autobind_towards(struct sock *sk, const struct cv_endpoint *peer);
/* SO_BINDTODEVICE: -CV_EBUSY when sockets of other workers share the port, and would take something else then. */
int udp_device_change(struct udp_sock *us, uint16_t device);
/* A family's wildcard address. */
void udp_any(uint8_t family, uint8_t addr[16]);
/* Sockets on the port came, went, or have a peer now or no longer: for the other workers. */
void udp_port_tell(struct engine *e, uint16_t port);
/* The one socket that a datagram from src to dst, our address, is for; port: pkt.port. NULL: nobody's. */
struct udp_sock *udp_find(
	struct engine *e, uint16_t port, const struct cv_endpoint *src, const struct cv_endpoint *dst);
/* Whether us is among those that get a datagram to a group or a broadcast address. */
bool udp_gets_copy(struct engine *e, const struct udp_sock *us, const struct pkt *p);

/* udp_send.c */
/* Whether sk may speak to peer at all; the wildcard address becomes what it means. */
int udp_peer_check(struct sock *sk, struct cv_endpoint *peer);
/* Whether it is bound to a group or a broadcast address: it gets what is sent there, and sends from another address,
 * which is chosen for each datagram. */
bool udp_is_bound_to_many(const struct sock *sk);
/* Where it sends from, as far as it is bound. A wildcard of either family is one to choose from: a socket of IPv6 may
 * speak IPv4, too. */
void udp_source_of(const struct sock *sk, uint8_t src[16]);
/* struct sock_proto.send */
int udp_send(struct sock *sk, struct txbuf *b);
/* The corked datagram leaves. */
int udp_uncork(struct udp_sock *us);
/* The corked datagram is forgotten. */
void udp_cork_drop(struct udp_sock *us);

/* udp_receive.c: struct sock_proto.rx_extra */
bool udp_rx_extra(const struct sock *sk, const struct rte_mbuf *m, struct cv_rxd_extra *extra);

/* udp_error.c */
/* An error of our own about a datagram to `to`: for the error queue, if the user reads it. */
void udp_error_local(struct udp_sock *us, enum cv_error error, const struct cv_endpoint *to, uint32_t info);
/* Forgets all errors that wait to be read. */
void udp_errors_drop(struct udp_sock *us);
/* Takes the oldest error: struct cv_error_report, then what was quoted. -CV_EAGAIN: there is none. */
int udp_error_take(struct udp_sock *us, void *value, uint32_t *len);

/* udp_option.c: struct sock_proto.setopt, getopt */
int udp_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len);
int udp_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len);

#endif
