/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors about datagrams of ours: the pending error that a connected socket is told of, and the queue that a user
 * reads with all that is known (IP_RECVERR, IPV6_RECVERR: ip(7), RFC3542:2.1 leaves it to the system). A queued
 * error is a packet buffer that holds struct cv_error_report and what the ICMP message quoted of the payload.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/udp/priv.h"

static bool wants_queue(const struct udp_sock *us, bool v4)
{
	return us->flags & (v4 ? UDP_RECVERR4 : UDP_RECVERR6);
}

/* Errors that nobody reads hold buffers as datagrams do, and are counted with them. */
static bool queue_has_room(const struct udp_sock *us)
{
	const struct engine *e = us->sk.engine;

	return us->errors.n < UDP_ERRORS_MAX && e->rx_held <= e->rx_held_max;
}

void udp_errors_drop(struct udp_sock *us)
{
	us->sk.engine->rx_held -= us->errors.n;
	pktq_free_all(&us->errors);
	us->sk.status &= ~(uint32_t)CV_ST_ERRQUEUE;
}

static void error_queue(struct udp_sock *us, const struct cv_error_report *r, const void *quote)
{
	struct sock *sk = &us->sk;
	struct rte_mbuf *m = queue_has_room(us) ? rte_pktmbuf_alloc(sk->engine->pkt_pool) : NULL;
	uint8_t *to = m ? (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*r) + r->quoted)) : NULL;

	if (to == NULL) {
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(to, r, sizeof(*r));
	if (r->quoted > 0)
		memcpy(to + sizeof(*r), quote, r->quoted);
	pktq_push(&us->errors, m);
	sk->engine->rx_held++;
	sk->status |= CV_ST_ERRQUEUE;
}

void udp_error_local(struct udp_sock *us, enum cv_error error, const struct cv_endpoint *to, uint32_t info)
{
	struct cv_error_report r = {.error = error, .info = info, .origin = CV_ORIGIN_LOCAL};

	if (!wants_queue(us, addr_is_v4(to->addr)))
		return;
	sock_endpoint_out(&r.to, to);
	error_queue(us, &r, NULL);
	sock_event(&us->sk);
}

static const struct cv_error_report *report_of(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, const struct cv_error_report *);
}

int udp_error_take(struct udp_sock *us, void *value, uint32_t *len)
{
	struct rte_mbuf *m = pktq_pop(&us->errors), *next = us->errors.head;
	struct cv_error_report r;

	if (m == NULL)
		return -CV_EAGAIN;
	us->sk.engine->rx_held--;
	memcpy(&r, report_of(m), sizeof(r));
	if (next == NULL)
		us->sk.status &= ~(uint32_t)CV_ST_ERRQUEUE;
	/* The pending error is the one that is read next, as Linux has it. */
	r.more = next != NULL && report_of(next)->origin != CV_ORIGIN_LOCAL;
	if (r.more)
		sock_set_error(&us->sk, (enum cv_error)report_of(next)->error);
	if (*len > rte_pktmbuf_data_len(m))
		*len = rte_pktmbuf_data_len(m);
	memcpy(value, rte_pktmbuf_mtod(m, const void *), *len);
	memcpy(value, &r, *len < sizeof(r) ? *len : sizeof(r));
	rte_pktmbuf_free(m);
	sock_event(&us->sk);
	return 0;
}

static void icmp_queue(struct udp_sock *us, const struct icmp_error *err)
{
	struct cv_error_report r = {.error = err->error,
		.info = err->info,
		.origin = addr_is_v4(err->peer.addr) ? CV_ORIGIN_ICMP : CV_ORIGIN_ICMP6,
		.type = err->type,
		.code = err->code,
		.quoted = err->quote_len};

	sock_endpoint_out(&r.to, &err->peer);
	addr_to_wire(r.offender.addr, err->offender);
	if (r.quoted > CV_ERROR_QUOTED_MAX)
		r.quoted = CV_ERROR_QUOTED_MAX;
	error_queue(us, &r, err->quote);
}

/* Only a connected socket is told, and of what will not pass (udp(7)), unless the user reads the queue. A packet that
 * is said to be too big must have been larger than what is said to pass, from a socket that sends such
 * (RFC5927:7.2); icmp_error_input() has seen to the former. */
void udp_icmp_error(struct engine *e, const struct icmp_error *err)
{
	bool v4 = addr_is_v4(err->peer.addr), hard = err->hard;
	/* All workers hear of errors; of sockets that share a port one is told. */
	bool ours = cv_likely(e->crew == NULL) || crew_udp_owner(e, &err->local, &err->peer) == e->worker;
	struct udp_sock *us = !ours ? NULL : udp_find(e, err->port, &err->peer, &err->local);
	uint8_t discover;

	if (us == NULL || (us->sk.tx_taken == 0 && us->sk.tx_acked == 0 && err->mtu != 0))
		return;
	discover = v4 ? us->mtu_discover : us->mtu_discover6;
	if (err->mtu != 0) {
		if (discover < PMTUDISC_INTERFACE)
			ip_pmtu_learn(e, err->peer.addr, err->mtu);
		if (discover == PMTUDISC_DONT && v4)
			return;
		hard = discover != PMTUDISC_DONT;
	}
	if (wants_queue(us, v4))
		icmp_queue(us, err);
	else if (!hard || !(us->sk.status & CV_ST_CONNECTED))
		return;
	sock_set_error(&us->sk, err->error);
}
