/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving from an engine socket: the chain of segment.h, copied out once.
 * Owns: the consumed cursor. Does not own: sleeping. Called by: call.c, sock.c (accept).
 * Invariant: rx_cur and rx_off change together with rx_consumed, under rx_lock.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "shim/ancillary.h"
#include "shim/call.h"
#include "shim/real.h"
#include "shim/sock.h"

struct place {
	uint32_t cur, off;
	uint64_t pos;
};

static const struct cv_rxd *rxd_at(const struct file *f, uint32_t i)
{
	const struct link *l = sock_link(f);
	const struct cv_rxd *rxds = (const struct cv_rxd *)(const void *)(l->base + l->wait.seg->rxds_off);

	return &rxds[i < l->wait.seg->rxds_max ? i : 0];
}

static uint32_t rxd_len(const struct cv_rxd *d)
{
	return __atomic_load_n(&d->len, __ATOMIC_ACQUIRE);
}

/* Its bytes from `at` on: in the segment, or in a packet buffer of an engine inside this process (segment.h). */
static const uint8_t *rxd_bytes(const struct file *f, const struct cv_rxd *d, uint64_t at)
{
	uint64_t off = __atomic_load_n(&d->off, __ATOMIC_ACQUIRE);

	if (off & CV_RXD_INSIDE)
		return (const uint8_t *)(uintptr_t)(off & ~CV_RXD_INSIDE) + at;
	return sock_link(f)->base + off + at;
}

/* The descriptor of the next unit; there is one (rx_produced was loaded). */
static const struct cv_rxd *place_find(const struct file *f, struct place *p)
{
	const struct cv_sock *rec = f->mux.rec;

	if (__atomic_load_n(&rec->rx_head_pos, __ATOMIC_ACQUIRE) == p->pos) {
		p->cur = __atomic_load_n(&rec->rx_head, __ATOMIC_RELAXED);
		p->off = 0;
	} else if (p->off >= rxd_len(rxd_at(f, p->cur))) {
		p->cur = __atomic_load_n(&rxd_at(f, p->cur)->next, __ATOMIC_ACQUIRE);
		p->off = 0;
	}
	return rxd_at(f, p->cur);
}

static struct place place_now(const struct cv_sock *rec)
{
	return (struct place){rec->rx_cur, rec->rx_off, rec->rx_consumed};
}

/* Moves the cursor; returns whether the engine should look at it. */
static bool place_commit(struct cv_sock *rec, const struct place *p)
{
	uint64_t before = rec->rx_consumed, notify = __atomic_load_n(&rec->rx_notify_pos, __ATOMIC_RELAXED);

	rec->rx_cur = p->cur;
	rec->rx_off = p->off;
	__atomic_store_n(&rec->rx_consumed, p->pos, __ATOMIC_RELEASE);
	return p->pos != before &&
	       (p->pos == __atomic_load_n(&rec->rx_produced, __ATOMIC_ACQUIRE) ||
		       (before < notify && p->pos >= notify));
}

static uint64_t produced(const struct file *f)
{
	return __atomic_load_n(&f->mux.rec->rx_produced, __ATOMIC_ACQUIRE);
}

static void notify(struct file *f)
{
	struct cv_command c = {.op = CV_CMD_RECVD};

	sock_post(f, &c);
}

/* Copies to the program's vectors from byte `at` of them on; returns how many fitted. */
static size_t scatter(const struct msghdr *msg, size_t at, const uint8_t *from, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < msg->msg_iovlen && done < n; i++) {
		const struct iovec *v = &msg->msg_iov[i];
		size_t take;

		if (at >= v->iov_len) {
			at -= v->iov_len;
			continue;
		}
		take = v->iov_len - at < n - done ? v->iov_len - at : n - done;
		memcpy((uint8_t *)v->iov_base + at, from + done, take);
		done += take;
		at = 0;
	}
	return done;
}

size_t rx_scatter(const struct msghdr *msg, const void *from, size_t n)
{
	return scatter(msg, 0, from, n);
}

int msg_refuse(const struct msghdr *msg)
{
	if (call_bad_pointer(msg))
		return -EFAULT;
	if (msg->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	if (msg->msg_iovlen > 0 && call_bad_pointer(msg->msg_iov))
		return -EFAULT;
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		size_t n = msg->msg_iov[i].iov_len;

		if (n > SSIZE_MAX)
			return -EINVAL;
		if (msg->msg_iovlen > 1 && call_bad_length(n)) /* one alone is cut (msg_bytes) */
			return -EFAULT;
	}
	return 0;
}

size_t msg_bytes(const struct msghdr *msg)
{
	size_t n = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++)
		n = msg_bytes_cut(n + msg->msg_iov[i].iov_len);
	return n;
}

bool msg_is_bad(const struct msghdr *msg)
{
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		if (msg->msg_iov[i].iov_len > 0 && call_bad_pointer(msg->msg_iov[i].iov_base))
			return true;
	}
	return false;
}

/* --- where peeking begins (SO_PEEK_OFF: socket(7)) --------------------------------------------- */

/* Whether this call looks at an offset of its own, which what is there need not reach. */
static bool peek_is_set(const struct cv_sock *rec, int flags)
{
	return (flags & MSG_PEEK) && (int)(rec->peek_off - 1) >= 0;
}

/* Bytes of what is there that this call begins behind. */
static uint32_t peek_ahead(const struct cv_sock *rec, int flags)
{
	return peek_is_set(rec, flags) ? rec->peek_off - 1 : 0;
}

/* n bytes were peeked at, or read. */
static void peek_move(struct cv_sock *rec, int flags, size_t n)
{
	uint32_t off = rec->peek_off - 1;

	if ((int)off < 0)
		return;
	rec->peek_off = 1 + (flags & MSG_PEEK ? off + (uint32_t)n : n < off ? off - (uint32_t)n : 0);
}

/* --- urgent data (tcp(7), SO_OOBINLINE; RFC6093) ------------------------------------------------ */

/* The position where reading stops for the urgent byte, UINT64_MAX: nowhere. */
static uint64_t urgent_mark(const struct cv_sock *rec)
{
	uint64_t at;

	if (!(__atomic_load_n(&rec->status, __ATOMIC_ACQUIRE) & CV_ST_URGENT))
		return UINT64_MAX;
	at = __atomic_load_n(&rec->rx_urgent_pos, __ATOMIC_ACQUIRE);
	return at >= rec->rx_consumed ? at : UINT64_MAX;
}

/* Goes on to what lies at `pos`, which was received, without reading what lies before it. */
static const struct cv_rxd *place_seek(struct file *f, struct place *p, uint64_t pos)
{
	for (;;) {
		const struct cv_rxd *d = place_find(f, p);
		uint64_t n = rxd_len(d) - p->off;

		if (pos - p->pos < n || n == 0) {
			p->off += n ? (uint32_t)(pos - p->pos) : 0;
			p->pos = pos;
			return d;
		}
		p->off += (uint32_t)n;
		p->pos += n;
	}
}

static ssize_t urgent_receive(struct file *f, struct msghdr *msg, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	uint64_t at = urgent_mark(rec);
	const struct cv_rxd *d;
	struct place p;
	uint8_t byte;

	if (rec->status & CV_ST_LISTENING)
		return -ENOTCONN;
	if (at == UINT64_MAX || rec->oob_inline || rec->oob_pos > at)
		return -EINVAL;
	if (!sock_lock(f, &rec->rx_lock))
		return -EAGAIN;
	if (produced(f) <= at || at < rec->rx_consumed) {
		sock_unlock(&rec->rx_lock);
		return -EAGAIN; /* announced, and still on its way */
	}
	p = place_now(rec);
	d = place_seek(f, &p, at);
	byte = *rxd_bytes(f, d, p.off);
	if (!(flags & MSG_PEEK))
		rec->oob_pos = at + 1;
	sock_unlock(&rec->rx_lock);
	return flags & MSG_TRUNC ? msg_bytes(msg) > 0 : (ssize_t)scatter(msg, 0, &byte, 1);
}

bool rx_at_mark(struct file *f)
{
	return urgent_mark(f->mux.rec) == f->mux.rec->rx_consumed;
}

/* What there is, without waiting; -EAGAIN: a handler interrupted a receive of its own thread. */
static ssize_t stream_take(struct file *f, struct msghdr *msg, size_t at, size_t want, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	struct place p;
	uint64_t end, mark;
	size_t done = 0;
	bool tell = false;

	if (!sock_lock(f, &rec->rx_lock))
		return -EAGAIN;
	p = place_now(rec);
	end = produced(f);
	mark = urgent_mark(rec);
	if (flags & MSG_PEEK) {
		uint32_t ahead = peek_ahead(rec, flags);

		at = 0;
		if (ahead >= end - p.pos)
			want = 0;
		else if (ahead > 0)
			place_seek(f, &p, p.pos + ahead);
	}
	while (done < want && p.pos != end) {
		const struct cv_rxd *d = place_find(f, &p);
		size_t n = rxd_len(d) - p.off;

		if (p.pos == mark && done > 0)
			break; /* a read ends in front of the mark */
		if (p.pos == mark && !rec->oob_inline) {
			p.off++; /* unread, it is gone */
			p.pos++;
			continue;
		}
		if (mark > p.pos && n > mark - p.pos)
			n = (size_t)(mark - p.pos);
		if (n > want - done)
			n = want - done;
		if (n > end - p.pos)
			n = (size_t)(end - p.pos);
		if (n == 0)
			break;
		if (!(flags & MSG_TRUNC))
			scatter(msg, at + done, rxd_bytes(f, d, p.off), n);
		p.off += (uint32_t)n;
		p.pos += n;
		done += n;
	}
	if (!(flags & MSG_PEEK))
		tell = place_commit(rec, &p);
	sock_unlock(&rec->rx_lock);
	if (tell)
		notify(f);
	return (ssize_t)done;
}

/* With nothing to read: 0 at the end, -errno, or 1: wait. */
static int stream_empty(struct file *f, int flags)
{
	uint32_t status = __atomic_load_n(&f->mux.rec->status, __ATOMIC_ACQUIRE);
	int error;

	if (produced(f) - f->mux.rec->rx_consumed > peek_ahead(f->mux.rec, flags))
		return 1;
	if (status & CV_ST_FIN)
		return 0; /* an error since then is for who sends, or asks for it */
	if ((status & CV_ST_DEAD) && !(status & CV_ST_RX_EOF))
		return 1; /* what came before the end waits for receive memory */
	error = sock_take_error(f);
	if (error)
		return -error;
	if ((status & CV_ST_RX_EOF) || f->mux.rec->rx_shut)
		return 0;
	if (!(status & (CV_ST_CONNECTED | CV_ST_CONNECTING)))
		return -ENOTCONN;
	return 1;
}

static ssize_t stream_receive(struct file *f, struct msghdr *msg, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	size_t want = msg_bytes(msg), target = (flags & MSG_WAITALL) || want == 0 ? want : 1, done = 0;
	uint64_t deadline = 0, seen;
	bool turned = false;
	int state;

	if (target == 1 && rec->rcvlowat > 1)
		target = rec->rcvlowat < want ? rec->rcvlowat : want;
	for (;;) {
		ssize_t n;

		seen = produced(f);
		n = stream_take(f, msg, done, flags & MSG_PEEK ? want : want - done, flags);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done = flags & MSG_PEEK ? (size_t)n : done + (size_t)n;
		/* Who asks for nothing is told that something is there. */
		if (done >= target && (want > 0 || seen - rec->rx_consumed > peek_ahead(rec, flags)))
			return (ssize_t)done;
		if (done != 0 && !sock_waits(f, flags))
			return (ssize_t)done;
		state = done ? (sock_is_dead(f) || (rec->status & (CV_ST_RX_EOF | CV_ST_DEAD)) || rec->rx_shut ? 0 : 1)
			     : stream_empty(f, flags);
		if (state <= 0) {
			/* What came between the two looks. */
			if (state == 0 && !sock_is_dead(f) && produced(f) != rec->rx_consumed &&
				!(flags & MSG_PEEK))
				continue;
			return done ? (ssize_t)done : state;
		}
		if (!sock_waits(f, flags)) {
			if (turned || !(turned = wait_turn(f->mux.link)))
				return -EAGAIN;
			continue;
		}
		if (deadline == 0)
			deadline = wait_deadline(rec->rcvtimeo_ns);
		state = done || peek_is_set(rec, flags) ? wait_more(&f->mux, seen, deadline)
							: wait_sock(&f->mux, POLLIN | POLLRDHUP, -1, deadline);
		if (state > 0)
			continue;
		/* Less than SO_RCVLOWAT, whose time is over. */
		if (done == 0 && !sock_is_dead(f) && produced(f) != rec->rx_consumed)
			done = (size_t)stream_take(f, msg, 0, want, flags);
		return (ssize_t)done > 0 ? (ssize_t)done : state == 0 ? -EAGAIN : state;
	}
}

/* The datagram in which byte *ahead of all lies, and in it *ahead; NULL: none as yet. An empty one is stepped over once
 * it was looked at. There is one at p. */
static const struct cv_rxd *datagram_peek(struct file *f, struct place *p, size_t *ahead)
{
	for (;;) {
		const struct cv_rxd *d = place_find(f, p);
		size_t len = rxd_len(d);

		if (*ahead < len || (*ahead == 0 && f->mux.rec->peeked_pos <= p->pos))
			return d;
		*ahead -= len;
		p->off = (uint32_t)len;
		p->pos++;
		if (p->pos == produced(f))
			return NULL;
	}
}

/* One datagram, -EAGAIN, SOCK_OWN_LOCK. */
static ssize_t datagram_take(struct file *f, struct msghdr *msg, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	struct place p;
	const struct cv_rxd *d;
	struct cv_rxd_extra extra;
	size_t len, n, ahead = peek_ahead(rec, flags);
	bool tell = false;

	if (produced(f) == rec->rx_consumed)
		return -EAGAIN;
	if (!sock_lock(f, &rec->rx_lock))
		return SOCK_OWN_LOCK;
	p = place_now(rec);
	d = produced(f) == p.pos ? NULL : peek_is_set(rec, flags) ? datagram_peek(f, &p, &ahead) : place_find(f, &p);
	if (!d) {
		sock_unlock(&rec->rx_lock);
		return -EAGAIN;
	}
	len = rxd_len(d);
	n = scatter(msg, 0, rxd_bytes(f, d, ahead), len - ahead);
	/* As Linux: behind an offset what just fits is cut, too. */
	msg->msg_flags = (n < len && (ahead == 0 || msg_bytes(msg) == n)) || (d->flags & CV_RXD_TRUNC) ? MSG_TRUNC : 0;
	if (msg->msg_name)
		address_out(&d->peer, f->family, msg->msg_name, &msg->msg_namelen);
	if (d->flags & CV_RXD_EXTRA)
		memcpy(&extra, rxd_bytes(f, d, 0) - sizeof(extra), sizeof(extra));
	ancillary_put(f, msg, d, d->flags & CV_RXD_EXTRA ? &extra : NULL);
	p.off = (uint32_t)len;
	p.pos++;
	n = flags & MSG_TRUNC ? len : n;
	peek_move(rec, flags, n);
	if (!(flags & MSG_PEEK))
		tell = place_commit(rec, &p);
	else if (len == 0)
		rec->peeked_pos = p.pos;
	sock_unlock(&rec->rx_lock);
	if (tell)
		notify(f);
	return (ssize_t)n;
}

static ssize_t datagram_receive(int fd, struct file *f, struct msghdr *msg, int flags)
{
	uint64_t deadline = wait_deadline(f->mux.rec->rcvtimeo_ns);
	bool turned = false;

	for (;;) {
		uint64_t seen = produced(f);
		ssize_t n = sock_is_dead(f) ? -ENETDOWN : -sock_take_error(f); /* before what is there (udp(7)) */
		int error;

		if (n == 0)
			n = datagram_take(f, msg, flags);
		if (n != -EAGAIN)
			return n == SOCK_OWN_LOCK ? -EAGAIN : n;
		if (f->mux.both) {
			n = quiet_recvmsg(fd, msg, flags | MSG_DONTWAIT);
			if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
				return n < 0 ? -errno : n;
		}
		if (f->mux.rec->rx_shut)
			return 0;
		if (!sock_waits(f, flags)) {
			if (turned || !(turned = wait_turn(f->mux.link)))
				return -EAGAIN;
			continue;
		}
		error = peek_is_set(f->mux.rec, flags) ? wait_more(&f->mux, seen, deadline)
						       : wait_sock(&f->mux, POLLIN, f->mux.both ? fd : -1, deadline);
		if (error <= 0)
			return error == 0 ? -EAGAIN : error;
	}
}

ssize_t rx_message(int fd, struct file *f, struct msghdr *msg, int flags)
{
	ssize_t n = msg_refuse(msg);

	if (n < 0)
		return n;
	/* MSG_TRUNC on a stream throws away, and needs no memory. */
	if (!(f->type == SOCK_STREAM && (flags & MSG_TRUNC)) && msg_is_bad(msg))
		return -EFAULT;
	wait_link_check(f->mux.link);
	if (flags & MSG_ERRQUEUE)
		return ancillary_error(fd, f, msg, flags);
	if (f->type == SOCK_DGRAM)
		return datagram_receive(fd, f, msg, flags); /* which knows nothing urgent, nor refuses to look for it */
	n = flags & MSG_OOB ? urgent_receive(f, msg, flags) : stream_receive(f, msg, flags);
	if (n > 0 && !(flags & MSG_OOB))
		peek_move(f->mux.rec, flags, (size_t)n);
	if (n >= 0) {
		msg->msg_flags = flags & MSG_OOB;
		msg->msg_namelen = 0;
		msg->msg_controllen = 0;
	}
	return n;
}

int rx_connection(struct file *f, uint32_t *handle)
{
	const struct link *link = sock_link(f);
	struct cv_sock *rec = f->mux.rec;
	struct place p;

	if (produced(f) == rec->rx_consumed)
		return -EAGAIN;
	if (!sock_lock(f, &rec->rx_lock))
		return SOCK_OWN_LOCK;
	p = place_now(rec);
	if (produced(f) == p.pos) {
		sock_unlock(&rec->rx_lock);
		return -EAGAIN;
	}
	*handle = place_find(f, &p)->sock;
	p.off = UINT32_MAX; /* next time: the following one, whatever its length */
	p.pos++;
	place_commit(rec, &p);
	/* Whose it is if we are killed before the engine hears of it. */
	__atomic_store_n(&sock_record(link, *handle)->taker, link->proc + 1, __ATOMIC_RELEASE);
	sock_unlock(&rec->rx_lock);
	return 0;
}

/* Up to the urgent byte. Others may be reading meanwhile. */
static int stream_bytes(struct file *f)
{
	const struct cv_sock *rec = f->mux.rec;
	uint64_t consumed = __atomic_load_n(&rec->rx_consumed, __ATOMIC_ACQUIRE), end = produced(f);
	uint64_t mark = urgent_mark(rec);

	if (mark >= consumed && mark < end && !rec->oob_inline)
		end = mark;
	return (int)(end - consumed);
}

int rx_next_bytes(struct file *f)
{
	struct cv_sock *rec = f->mux.rec;
	struct place p;
	int n = 0;

	if (f->type == SOCK_STREAM)
		return stream_bytes(f);
	if (!sock_lock(f, &rec->rx_lock))
		return 0;
	p = place_now(rec);
	if (produced(f) != p.pos)
		n = (int)rxd_len(place_find(f, &p));
	sock_unlock(&rec->rx_lock);
	return n;
}
