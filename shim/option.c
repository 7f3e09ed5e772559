/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket options of engine sockets: what the shim serves itself, and option.def by the engine. */
#include <errno.h>
#include <linux/tcp.h> /* all of struct tcp_info, which netinet/tcp.h cuts */
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "shim/ancillary.h"
#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sock.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct option_def {
	int level, name;
	bool is_int;
};
static const struct option_def defs[CV_OPT_COUNT] = {
#define struct false
#define int true
#define X(cv_name, level, name, type) [CV_OPT_##cv_name] = {level, name, type},
#include "stack/api/option.def"
#undef X
#undef struct
#undef int
};

static unsigned find(int level, int name)
{
	for (unsigned i = 1; i < CV_OPT_COUNT; i++) {
		if (defs[i].level == level && defs[i].name == name && name < 0x7fff0000)
			return i;
	}
	return 0;
}

/* As an option of this socket; 0: the engine's sockets of that kind do not have it. */
static unsigned find_of(const struct file *f, int level, int name)
{
	unsigned i = find(level, name);

	if ((level == IPPROTO_IPV6 && f->family == AF_INET) || (level == IPPROTO_TCP && f->type == SOCK_DGRAM) ||
		(i == CV_OPT_MAX_PACING_RATE && f->type == SOCK_DGRAM))
		return 0;
	return i;
}

/* As Linux: what is longer than an int is cut, and a byte will do for those of ip(7). False: too short. */
static bool take_int(int level, const void *value, socklen_t len, int *v)
{
	if (len >= sizeof(*v))
		memcpy(v, value, sizeof(*v));
	else if (level == IPPROTO_IP && len >= 1)
		*v = *(const uint8_t *)value;
	else
		return false;
	return true;
}

void option_note(struct file *f, int level, int name, const void *value, socklen_t len)
{
	unsigned i = find(level, name);
	int v;

	if (i != 0 && defs[i].is_int && take_int(level, value, len, &v)) {
		value = &v;
		len = sizeof(v);
	}
	if (i == CV_OPT_FASTOPEN_KEY) /* too long for here, but the shadow tells it */
		f->options[i].set = true;
	if (i == 0 || i == CV_OPT_FASTOPEN_KEY || len > sizeof(f->options[i].value))
		return;
	f->options[i].set = true;
	f->options[i].len = (uint8_t)len;
	memcpy(f->options[i].value, value, len);
}

/* Switches that every stream has: nobody waits for the engine's yes, which web servers would do
 * twice for each answer (TCP_CORK). Commands of a thread keep their order, so a later look at the
 * option sees it. */
static bool is_never_refused(const struct file *f, unsigned i)
{
	return f->type == SOCK_STREAM && (i == CV_OPT_CORK || i == CV_OPT_NODELAY ||
						 i == CV_OPT_QUICKACK || i == CV_OPT_KEEPALIVE);
}

static int engine_set(struct file *f, unsigned i, const void *value, socklen_t len)
{
	struct cv_command c = {.op = CV_CMD_SETOPT, .arg = i, .len = len};
	uint8_t whole[sizeof(c.value) + sizeof(c.pos) + sizeof(c.off)] = {0};

	if (len > sizeof(whole))
		return -EINVAL;
	memcpy(whole, value, len);
	memcpy(c.value, whole, sizeof(c.value));
	memcpy(&c.pos, whole + sizeof(c.value), sizeof(c.pos));
	memcpy(&c.off, whole + sizeof(c.value) + sizeof(c.pos), sizeof(c.off));
	return is_never_refused(f, i) ? sock_post(f, &c) : sock_call(f, &c, NULL, NULL);
}

/* As Linux: none and beyond all measure are for ever (0 in the record), less than none does not wait, and reads back as
 * none. */
static uint64_t timeout_ns(const struct timeval *tv)
{
	if (tv->tv_sec < 0)
		return 1;
	if ((uint64_t)tv->tv_sec >= WAIT_FOREVER / 2 / 1000000000u)
		return 0;
	return (uint64_t)tv->tv_sec * 1000000000u + (uint64_t)tv->tv_usec * 1000u;
}

static void keys_replay(int fd, struct file *f)
{
	uint8_t keys[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES];
	socklen_t len = sizeof(keys);

	if (real_getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, &len) == 0)
		(void)engine_set(f, CV_OPT_FASTOPEN_KEY, keys, len);
}

/* What the record keeps is read from the shadow, where the program's calls went. */
void option_replay(int fd, struct file *f)
{
	struct cv_sock *rec = f->mux.rec;
	struct timeval tv = {0, 0};
	struct linger linger = {0, 0};
	int lowat = 1, peek_off = -1;
	socklen_t len = sizeof(tv);

	if (real_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0)
		rec->rcvtimeo_ns = timeout_ns(&tv);
	len = sizeof(tv);
	if (real_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len) == 0)
		rec->sndtimeo_ns = timeout_ns(&tv);
	len = sizeof(linger);
	if (real_getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0) {
		rec->linger_on = linger.l_onoff != 0;
		rec->linger_s = (uint32_t)linger.l_linger;
	}
	len = sizeof(lowat);
	if (real_getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, &len) == 0)
		rec->rcvlowat = (uint32_t)lowat;
	len = sizeof(peek_off);
	if (real_getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &peek_off, &len) == 0)
		rec->peek_off = 1 + (uint32_t)peek_off;
	if (f->options[CV_OPT_FASTOPEN_KEY].set)
		keys_replay(fd, f);
	for (unsigned i = 1; i < CV_OPT_COUNT; i++) {
		if (f->options[i].set && i != CV_OPT_FASTOPEN_KEY &&
			engine_set(f, i, f->options[i].value, f->options[i].len) == 0)
			ancillary_note(f, i, f->options[i].value);
		if (i == CV_OPT_OOBINLINE && f->options[i].set)
			rec->oob_inline = f->options[i].value[0] != 0;
	}
	mcast_replay(f);
}

static int give(const void *from, socklen_t size, void *value, socklen_t *len)
{
	if ((int)*len < 0)
		return -EINVAL;
	if (*len > size)
		*len = size;
	memcpy(value, from, *len);
	return 0;
}

static int give_int(int v, void *value, socklen_t *len)
{
	return give(&v, sizeof(v), value, len);
}

static int give_time(uint64_t ns, void *value, socklen_t *len)
{
	struct timeval tv = {(time_t)(ns / 1000000000u), (suseconds_t)(ns % 1000000000u / 1000u)};

	return give(&tv, sizeof(tv), value, len);
}

static int give_tcp_info(const struct cv_tcp_info *c, void *value, socklen_t *len)
{
	struct tcp_info t = {.tcpi_state = c->state,
		.tcpi_ca_state = c->ca_state,
		.tcpi_retransmits = c->retransmits,
		.tcpi_probes = c->probes,
		.tcpi_backoff = c->backoff,
		.tcpi_options = c->options,
		.tcpi_snd_wscale = c->snd_wscale & 15u,
		.tcpi_rcv_wscale = c->rcv_wscale & 15u,
		.tcpi_rto = c->rto,
		.tcpi_ato = c->ato,
		.tcpi_snd_mss = c->snd_mss,
		.tcpi_rcv_mss = c->rcv_mss,
		.tcpi_unacked = c->unacked,
		.tcpi_sacked = c->sacked,
		.tcpi_lost = c->lost,
		.tcpi_retrans = c->retrans,
		.tcpi_last_data_sent = c->last_data_sent,
		.tcpi_last_data_recv = c->last_data_recv,
		.tcpi_last_ack_recv = c->last_ack_recv,
		.tcpi_pmtu = c->pmtu,
		.tcpi_rcv_ssthresh = c->rcv_ssthresh,
		.tcpi_rtt = c->rtt,
		.tcpi_rttvar = c->rttvar,
		.tcpi_snd_ssthresh = c->snd_ssthresh,
		.tcpi_snd_cwnd = c->snd_cwnd,
		.tcpi_advmss = c->advmss,
		.tcpi_reordering = c->reordering,
		.tcpi_rcv_rtt = c->rcv_rtt,
		.tcpi_rcv_space = c->rcv_space,
		.tcpi_total_retrans = c->total_retrans,
		.tcpi_pacing_rate = c->pacing_rate,
		.tcpi_max_pacing_rate = c->max_pacing_rate,
		.tcpi_bytes_acked = c->bytes_acked,
		.tcpi_bytes_received = c->bytes_received,
		.tcpi_segs_out = c->segs_out,
		.tcpi_segs_in = c->segs_in,
		.tcpi_notsent_bytes = c->notsent_bytes,
		.tcpi_min_rtt = c->min_rtt,
		.tcpi_data_segs_in = c->data_segs_in,
		.tcpi_data_segs_out = c->data_segs_out,
		.tcpi_bytes_sent = c->bytes_sent,
		.tcpi_bytes_retrans = c->bytes_retrans,
		.tcpi_dsack_dups = c->dsack_dups,
		.tcpi_snd_wnd = c->snd_wnd};

	return give(&t, sizeof(t), value, len);
}

/* As Linux: a caller with room for 32 bits only gets as much as they hold. */
static int give_rate(uint64_t rate, void *value, socklen_t *len)
{
	uint32_t low = rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;

	return *len >= sizeof(rate) ? give(&rate, sizeof(rate), value, len)
				    : give(&low, sizeof(low), value, len);
}

/* Room for less than an int gets a byte of the options of ip(7), where it holds the value. */
static int give_option(unsigned i, const uint8_t *reply, uint32_t n, void *value, socklen_t *len)
{
	int v;

	memcpy(&v, reply, sizeof(v));
	if (defs[i].is_int && defs[i].level == IPPROTO_IP && *len > 1 && *len < sizeof(v) && v >= 0 && v <= UINT8_MAX)
		*len = 1;
	return give(reply, defs[i].is_int ? (socklen_t)sizeof(v) : (socklen_t)n, value, len);
}

static int engine_get(struct file *f, unsigned i, void *value, socklen_t *len)
{
	struct cv_command c = {.op = CV_CMD_GETOPT, .arg = i};
	uint8_t reply[CV_REPLY_BYTES] = {0};
	uint32_t n = sizeof(reply);
	int error = sock_call(f, &c, reply, &n);
	struct cv_tcp_info info;

	if (error < 0)
		return error;
	if (i == CV_OPT_MAX_PACING_RATE) {
		uint64_t rate;

		memcpy(&rate, reply, sizeof(rate));
		return give_rate(rate, value, len);
	}
	if (i != CV_OPT_TCP_INFO)
		return give_option(i, reply, n, value, len);
	memcpy(&info, reply, sizeof(info));
	return give_tcp_info(&info, value, len);
}

int option_unsent(struct file *f)
{
	socklen_t len = sizeof(int);
	int value = 0, error = engine_get(f, CV_OPT_UNSENT, &value, &len);

	return error < 0 ? error : value;
}

int option_get(int fd, struct file *f, int level, int name, void *value, socklen_t *len)
{
	const struct cv_sock *rec = f->mux.rec;
	struct linger linger = {(int)rec->linger_on, (int)rec->linger_s};
	unsigned i;

	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_ERROR:
			return give_int(sock_take_error(f), value, len);
		case SO_TYPE:
			return give_int(f->type, value, len);
		case SO_DOMAIN:
			return give_int(f->family, value, len);
		case SO_PROTOCOL:
			return give_int(
				f->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, value, len);
		case SO_ACCEPTCONN:
			return give_int((rec->status & CV_ST_LISTENING) != 0, value, len);
		case SO_LINGER:
			return give(&linger, sizeof(linger), value, len);
		case SO_RCVTIMEO:
			return give_time(rec->rcvtimeo_ns, value, len);
		case SO_SNDTIMEO:
			return give_time(rec->sndtimeo_ns, value, len);
		case SO_RCVLOWAT:
			return give_int((int)rec->rcvlowat, value, len);
		case SO_PEEK_OFF:
			return give_int((int)(rec->peek_off - 1), value, len);
		default:
			break;
		}
	}
	i = find_of(f, level, name);
	if (i != 0) {
		int error = engine_get(f, i, value, len);

		if (error != -ENOPROTOOPT || (f->type == SOCK_DGRAM && level != SOL_SOCKET))
			return error;
	}
	/* The rest (SO_REUSEADDR, SO_MARK ...) is the shadow's, which knows what exists. */
	pass_own_shadow(f);
	return real_getsockopt(fd, level, name, value, len) == 0 ? 0 : -errno;
}

/* What the record keeps. 1: not one of these. */
static int record_set(struct cv_sock *rec, int name, const void *value, socklen_t len)
{
	struct timeval tv;
	struct linger linger;
	int v;

	switch (name) {
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
		if (len < sizeof(tv))
			return -EINVAL;
		memcpy(&tv, value, sizeof(tv));
		if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
			return -EDOM;
		*(name == SO_RCVTIMEO ? &rec->rcvtimeo_ns : &rec->sndtimeo_ns) = timeout_ns(&tv);
		return 0;
	case SO_LINGER:
		if (len < sizeof(linger))
			return -EINVAL;
		memcpy(&linger, value, sizeof(linger));
		rec->linger_on = linger.l_onoff != 0;
		rec->linger_s = (uint32_t)linger.l_linger;
		return 0;
	case SO_RCVLOWAT:
	case SO_PEEK_OFF:
		if (len < sizeof(v))
			return -EINVAL;
		memcpy(&v, value, sizeof(v));
		if (name == SO_PEEK_OFF)
			rec->peek_off = 1 + (uint32_t)v;
		else
			rec->rcvlowat = v < 0 ? INT32_MAX : v == 0 ? 1u : (uint32_t)v;
		return 0;
	default:
		return 1;
	}
}

int option_set(int fd, struct file *f, int level, int name, const void *value, socklen_t len)
{
	struct cv_sock *rec = f->mux.rec;
	unsigned i = find_of(f, level, name);
	int v, error;

	if (i != 0) {
		if (defs[i].is_int) {
			if (!take_int(level, value, len, &v))
				return -EINVAL;
			value = &v;
			len = sizeof(v);
		}
		/* The wildcard's kernel half follows where it can. */
		if (f->mux.both)
			real_setsockopt(fd, level, name, value, len);
		if (i == CV_OPT_OOBINLINE)
			rec->oob_inline = *(const char *)value != 0;
		error = engine_set(f, i, value, len);
		if (error == 0 && defs[i].is_int)
			ancillary_note(f, i, value);
		/* What is a datagram socket's affair only: the shadow of a stream keeps it. */
		if (error != -ENOPROTOOPT || (f->type == SOCK_DGRAM && level != SOL_SOCKET))
			return error;
	}
	error = level == SOL_SOCKET ? record_set(rec, name, value, len) : 1;
	if (error == 0 && name == SO_RCVLOWAT && f->type == SOCK_STREAM) {
		/* What lies there may be enough now. */
		sock_tell(f);
		mux_file_kick(&f->mux);
	}
	if (error == 0 && name == SO_PEEK_OFF && f->mux.both) /* whose halves count each for itself */
		real_setsockopt(fd, level, name, value, len);
	if (error <= 0)
		return error;
	pass_own_shadow(f);
	return real_setsockopt(fd, level, name, value, len) == 0 ? 0 : -errno;
}
