/* SPDX-License-Identifier: BSD-3-Clause */
/* What a socket is ready for, from its record, exactly as Linux's tcp_poll and datagram_poll see it: see wait.h. */
#include "shim/wait.h"

#include "shim/atomic.h"

#define READABLE (POLLIN | POLLRDNORM)
#define WRITABLE (POLLOUT | POLLWRNORM)

bool wait_has_room(const struct cv_sock *rec)
{
	uint64_t queued = LOAD(rec->tx_pos) - LOAD_ACQUIRE(rec->tx_acked);
	uint32_t sndbuf = LOAD(rec->sndbuf);

	return queued <= sndbuf && sndbuf - queued >= sndbuf / 3 && wait_unsent_is_low(rec, 2);
}

void wait_want_room(struct cv_sock *rec)
{
	__atomic_fetch_add(&rec->tx_want, 1, __ATOMIC_SEQ_CST);
	FENCE();
}

/* SO_RCVLOWAT, as far as the receive buffer can ever hold that much. */
static bool stream_has_data(const struct cv_sock *rec)
{
	uint64_t consumed = LOAD(rec->rx_consumed);
	uint64_t unread = LOAD_ACQUIRE(rec->rx_produced) - consumed;
	uint32_t lowat = LOAD(rec->rcvlowat);

	/* The urgent byte is not read with the others. */
	if (unread > 0 && (LOAD(rec->status) & CV_ST_URGENT) && !rec->oob_inline &&
		LOAD(rec->rx_urgent_pos) == consumed)
		unread--;
	if (unread == 0)
		return false;
	return lowat <= 1 || unread >= lowat || unread >= LOAD(rec->rcvbuf) / 2;
}

bool wait_urgent(const struct cv_sock *rec, uint32_t status)
{
	uint64_t at;

	if (!(status & CV_ST_URGENT))
		return false;
	at = LOAD_ACQUIRE(rec->rx_urgent_pos);
	/* One that was passed by unread is gone. */
	return LOAD(rec->oob_pos) <= at && LOAD(rec->rx_consumed) <= at && LOAD_ACQUIRE(rec->rx_produced) > at;
}

/* tcp_poll(). The states are those of the record: none of LISTENING, CONNECTING, CONNECTED is a
 * socket in CLOSED that was never (or is no longer) connected, whose POLLOUT | POLLHUP programs see
 * on Linux too. */
static uint32_t stream_ready(const struct cv_sock *rec, uint32_t status)
{
	bool rx_shut = (status & (CV_ST_RX_EOF | CV_ST_DEAD)) != 0 || LOAD(rec->rx_shut) != 0;
	bool tx_shut = (status & (CV_ST_TX_SHUT | CV_ST_DEAD)) != 0 || LOAD(rec->tx_shut) != 0;
	bool closed =
		(status & CV_ST_DEAD) != 0 || (status & (CV_ST_CONNECTING | CV_ST_CONNECTED)) == 0;
	uint32_t ready = 0;

	if (status & CV_ST_LISTENING)
		return LOAD_ACQUIRE(rec->rx_produced) != LOAD(rec->rx_consumed) ? READABLE : 0;
	if (closed || (rx_shut && tx_shut))
		ready |= POLLHUP;
	if (rx_shut)
		ready |= READABLE | POLLRDHUP;
	if ((status & (CV_ST_CONNECTING | CV_ST_DEAD)) == CV_ST_CONNECTING)
		return ready;
	if (stream_has_data(rec))
		ready |= READABLE;
	if (tx_shut || closed || wait_has_room(rec))
		ready |= WRITABLE;
	if (wait_urgent(rec, status))
		ready |= POLLPRI;
	return ready;
}

/* datagram_poll(). */
static uint32_t datagram_ready(const struct cv_sock *rec, uint32_t status)
{
	bool rx_shut = LOAD(rec->rx_shut) != 0 || (status & CV_ST_RX_EOF) != 0;
	uint32_t ready = 0;

	if (rx_shut)
		ready |= READABLE | POLLRDHUP;
	if (rx_shut && LOAD(rec->tx_shut) != 0)
		ready |= POLLHUP;
	if (LOAD_ACQUIRE(rec->rx_produced) != LOAD(rec->rx_consumed))
		ready |= READABLE;
	if (wait_has_room(rec))
		ready |= WRITABLE | POLLWRBAND;
	if (status & CV_ST_ERRQUEUE)
		ready |= POLLERR;
	return ready;
}

uint32_t wait_ready(const struct mux_file *f)
{
	const struct cv_sock *rec = f->rec;
	uint32_t status, ready;
	bool error;

	if (LOAD(f->link->dead) || LOAD(rec->handle) != f->handle)
		return READABLE | WRITABLE | POLLRDHUP | POLLERR | POLLHUP;
	status = LOAD_ACQUIRE(rec->status);
	ready = rec->type == CV_STREAM ? stream_ready(rec, status) : datagram_ready(rec, status);
	error = LOAD_ACQUIRE(rec->error_seq) != LOAD(rec->error_seen);
	/* A stream's error is its end; the engine writes it just before it writes that. Both are
	 * told together, or none. */
	if (error && !(status & CV_ST_LISTENING) &&
		(rec->type != CV_STREAM || (status & CV_ST_DEAD) ||
			(status & (CV_ST_CONNECTED | CV_ST_CONNECTING)) == 0))
		ready |= POLLERR;
	return ready;
}

uint32_t wait_ready_want(const struct mux_file *f, uint32_t events)
{
	/* As it is before the look: who is connected just behind it wants no room, and would be told of
	 * some later. */
	uint32_t status = LOAD_ACQUIRE(f->rec->status), ready = wait_ready(f);

	if (!(events & (WRITABLE | POLLWRBAND)) || (ready & WRITABLE) ||
		(status & (CV_ST_LISTENING | CV_ST_CONNECTING)))
		return ready;
	wait_want_room(f->rec);
	return wait_ready(f);
}
