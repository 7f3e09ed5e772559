/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket options (socket(7), tcp(7), ip(7)) and TCP_INFO. */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/tcp/tcp_loss.h"

#define RCVBUF_MIN 2304u /* Linux's SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF */
#define SNDBUF_MIN 4608u
#define BUF_MAX (64u << 20)
#define KEEP_TIME_MAX 32767
#define KEEP_CNT_MAX 127
#define SYNCNT_MAX 127
#define TOS_ECN 3 /* RFC3168:5 */
#define LINGER2_MAX 120 /* seconds: Linux's TCP_FIN_TIMEOUT_MAX */
#define WINDOW_CLAMP_MIN 1152 /* half of the least receive buffer */
#define MAXSEG_MIN 88
#define MAXSEG_MAX 32767

/* Linux doubles what it is given, for its own overhead, and tells the double: programs compare. */
static uint32_t buffer_size(int value, uint32_t least)
{
	uint64_t size = value < 0 ? 0 : 2ull * (uint32_t)value;

	if (size < least)
		return least;
	return size < BUF_MAX ? (uint32_t)size : BUF_MAX;
}

static int set_socket(struct tcp_sock *tp, enum cv_option opt, int v)
{
	switch ((unsigned)opt) {
	case CV_OPT_SNDBUF:
		tp->sk.sndbuf = buffer_size(v, SNDBUF_MIN);
		tp->sndbuf_locked = 1;
		sock_event(&tp->sk);
		return 0;
	case CV_OPT_RCVBUF:
		tp->sk.rcvbuf = buffer_size(v, RCVBUF_MIN);
		tp->rcvbuf_locked = 1;
		sock_event(&tp->sk);
		return 0;
	case CV_OPT_KEEPALIVE:
		tp->keepalive = v != 0;
		tcp_keepalive_restart(tp);
		return 0;
	case CV_OPT_OOBINLINE:
		tp->oobinline = v != 0;
		return 0;
	case CV_OPT_BROADCAST:
		tp->broadcast = v != 0;
		return 0;
	case CV_OPT_PRIORITY:
		tp->priority = (uint8_t)v;
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
}

static int set_ip(struct tcp_sock *tp, enum cv_option opt, int v)
{
	switch ((unsigned)opt) {
	case CV_OPT_TOS:
	case CV_OPT_TCLASS:
		if (v < -1 || v > 255)
			return -CV_EINVAL;
		tp->tos = (uint8_t)((v < 0 ? 0 : v) & ~TOS_ECN); /* of a stream ECN's bits are TCP's */
		return 0;
	case CV_OPT_TTL:
	case CV_OPT_UNICAST_HOPS:
		if (v == 0 || v < -1 || v > 255)
			return -CV_EINVAL;
		tp->ttl = (uint8_t)(v >= 0 ? v : tp->sk.family == CV_AF_INET6 ? 0 : IP_TTL_DEFAULT);
		return 0;
	case CV_OPT_MTU_DISCOVER:
		if (v < 0 || v > 5)
			return -CV_EINVAL;
		tp->mtu_discover = (uint8_t)v;
		return 0;
	case CV_OPT_LOCAL_PORT_RANGE: /* first | last << 16, each 0 for the engine's */
		if ((v & 0xffff) != 0 && (uint32_t)v >> 16 != 0 && (uint32_t)(v & 0xffff) > (uint32_t)v >> 16)
			return -CV_EINVAL;
		tp->port_first = (uint16_t)v;
		tp->port_last = (uint16_t)((uint32_t)v >> 16);
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
}

static int set_in_range(uint32_t *field, int v, int least, int most)
{
	if (v < least || v > most)
		return -CV_EINVAL;
	*field = (uint32_t)v;
	return 0;
}

static int set_keepalive(struct tcp_sock *tp, enum cv_option opt, int v)
{
	if (v < 1 || v > (opt == CV_OPT_KEEPCNT ? KEEP_CNT_MAX : KEEP_TIME_MAX))
		return -CV_EINVAL;
	if (opt == CV_OPT_KEEPIDLE)
		tp->keep_idle_s = (uint16_t)v;
	else if (opt == CV_OPT_KEEPINTVL)
		tp->keep_intvl_s = (uint16_t)v;
	else
		tp->keep_cnt = (uint8_t)v;
	tcp_keepalive_restart(tp);
	return 0;
}

static int set_maxseg(struct tcp_sock *tp, int v)
{
	if (v != 0 && (v < MAXSEG_MIN || v > MAXSEG_MAX))
		return -CV_EINVAL;
	tp->user_mss = (uint16_t)v;
	if (tp->state >= TCP_ESTABLISHED)
		tcp_mss_update(tp);
	return 0;
}

static int set_window_clamp(struct tcp_sock *tp, int v)
{
	if (v == 0 && tp->state != TCP_CLOSED)
		return -CV_EINVAL;
	tp->window_clamp = v == 0 ? 0 : v < WINDOW_CLAMP_MIN ? WINDOW_CLAMP_MIN : (uint32_t)v;
	return 0;
}

/* What held segments back has gone: look again. */
static int set_flag_and_push(struct tcp_sock *tp, bool push)
{
	if (push && tp->state >= TCP_ESTABLISHED)
		sock_output_later(&tp->sk);
	return 0;
}

/* Linux counts TCP_DEFER_ACCEPT in SYN-ACKs: how many go out again in so many seconds, and the
 * reverse. */
static uint8_t retransmits_in(int seconds)
{
	int64_t period = TCP_RTO_INITIAL / SEC, wait = period;
	uint8_t n = seconds > 0 ? 1 : 0;

	for (; seconds > period && n < UINT8_MAX; n++) {
		wait = 2 * wait < (int64_t)(TCP_RTO_MAX / SEC) ? 2 * wait
							       : (int64_t)(TCP_RTO_MAX / SEC);
		period += wait;
	}
	return n;
}

static int retransmits_take(uint8_t n)
{
	int64_t wait = TCP_RTO_INITIAL / SEC, period = n > 0 ? wait : 0;

	while (n-- > 1) {
		wait = 2 * wait < (int64_t)(TCP_RTO_MAX / SEC) ? 2 * wait
							       : (int64_t)(TCP_RTO_MAX / SEC);
		period += wait;
	}
	return (int)period;
}

static int set_tcp(struct tcp_sock *tp, enum cv_option opt, int v)
{
	uint32_t u = 0;
	int ret;

	switch ((unsigned)opt) {
	case CV_OPT_NODELAY:
		tp->nodelay = v != 0;
		return set_flag_and_push(tp, tp->nodelay);
	case CV_OPT_CORK:
		tp->cork = v != 0;
		return set_flag_and_push(tp, !tp->cork);
	case CV_OPT_QUICKACK:
		tp->quickack = v != 0;
		tp->pingpong = v == 0;
		return set_flag_and_push(tp, tp->quickack && tp->ack_pending > 0);
	case CV_OPT_MAXSEG:
		return set_maxseg(tp, v);
	case CV_OPT_KEEPIDLE:
	case CV_OPT_KEEPINTVL:
	case CV_OPT_KEEPCNT:
		return set_keepalive(tp, opt, v);
	case CV_OPT_USER_TIMEOUT:
		return set_in_range(&tp->user_timeout_ms, v, 0, INT32_MAX);
	case CV_OPT_SYNCNT:
		ret = set_in_range(&u, v, 1, SYNCNT_MAX);
		if (ret == 0)
			tp->syncnt = (uint8_t)u;
		return ret;
	case CV_OPT_LINGER2:
		tp->linger2_s = (int16_t)(v < 0 ? -1 : v < LINGER2_MAX ? v : LINGER2_MAX);
		return 0;
	case CV_OPT_DEFER_ACCEPT:
		tp->defer_accept = retransmits_in(v);
		return 0;
	case CV_OPT_WINDOW_CLAMP:
		return set_window_clamp(tp, v);
	case CV_OPT_FASTOPEN:
		if (v < 0 || tp->state > TCP_LISTEN)
			return -CV_EINVAL;
		tp->fastopen_queue = v < UINT16_MAX ? (uint16_t)v : UINT16_MAX;
		return 0;
	case CV_OPT_FASTOPEN_CONNECT:
		if (v < 0 || v > 1)
			return -CV_EINVAL;
		if (!tcp_fastopen_is_offered(tp->sk.engine))
			return -CV_EOPNOTSUPP;
		if (tp->state != TCP_CLOSED)
			return -CV_EINVAL;
		tp->fastopen_connect = v != 0;
		return 0;
	case CV_OPT_NOTSENT_LOWAT:
		tp->notsent_lowat = (uint32_t)v;
		tp->sk.lowat = true; /* once bounded, the bound is told for good, be it that of no bound */
		sock_event(&tp->sk);
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
}

static int set_congestion(struct tcp_sock *tp, const void *value, uint32_t len)
{
	char name[CV_CONGESTION_NAME_BYTES] = "";
	const struct tcp_cc *cc;

	memcpy(name, value, len < sizeof(name) ? len : sizeof(name) - 1);
	cc = tcp_cc_find(name);
	if (cc == NULL)
		return -CV_ENOENT;
	tp->cc = cc;
	tcp_cc_init(tp);
	return 0;
}

/* As Linux: 32 bits or 64, all ones of either for none. */
static int set_pacing(struct tcp_sock *tp, const void *value, uint32_t len)
{
	uint64_t rate;
	uint32_t low;

	if (len < sizeof(low))
		return -CV_EINVAL;
	memcpy(&low, value, sizeof(low));
	rate = low == UINT32_MAX ? UINT64_MAX : low;
	if (len >= sizeof(rate))
		memcpy(&rate, value, sizeof(rate));
	return tcp_pace_set(tp, rate);
}

int tcp_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len)
{
	struct tcp_sock *tp = tcp_of(sk);
	int v, ret;

	if (opt == CV_OPT_CONGESTION)
		return set_congestion(tp, value, len);
	if (opt == CV_OPT_MAX_PACING_RATE)
		return set_pacing(tp, value, len);
	if (opt == CV_OPT_FASTOPEN_KEY)
		return tcp_fastopen_keys_set(tp, value, len);
	if (len < sizeof(v))
		return -CV_EINVAL;
	memcpy(&v, value, sizeof(v));
	ret = set_tcp(tp, opt, v);
	if (ret == -CV_ENOPROTOOPT)
		ret = set_socket(tp, opt, v);
	if (ret == -CV_ENOPROTOOPT)
		ret = set_ip(tp, opt, v);
	return ret;
}

static int get_socket(const struct tcp_sock *tp, enum cv_option opt, int *v)
{
	switch ((unsigned)opt) {
	case CV_OPT_SNDBUF:
		*v = (int)tp->sk.sndbuf;
		return 0;
	case CV_OPT_RCVBUF:
		*v = (int)tp->sk.rcvbuf;
		return 0;
	case CV_OPT_KEEPALIVE:
		*v = tp->keepalive;
		return 0;
	case CV_OPT_OOBINLINE:
		*v = tp->oobinline;
		return 0;
	case CV_OPT_BROADCAST:
		*v = tp->broadcast;
		return 0;
	case CV_OPT_PRIORITY:
		*v = tp->priority;
		return 0;
	case CV_OPT_TOS:
	case CV_OPT_TCLASS:
		*v = tp->tos;
		return 0;
	case CV_OPT_TTL:
		*v = tp->ttl != 0 ? tp->ttl : IP_TTL_DEFAULT;
		return 0;
	case CV_OPT_UNICAST_HOPS:
		*v = tp->ttl != 0 ? tp->ttl : ip_hops(&tp->path, tp->sk.peer.addr);
		return 0;
	case CV_OPT_MTU_DISCOVER:
		*v = tp->mtu_discover;
		return 0;
	case CV_OPT_LOCAL_PORT_RANGE:
		*v = (int)(tp->port_first | (uint32_t)tp->port_last << 16);
		return 0;
	case CV_OPT_MTU:
		*v = tp->pmtu != 0 ? tp->pmtu : tp->path.mtu;
		return tp->state >= TCP_ESTABLISHED ? 0 : -CV_ENOTCONN;
	case CV_OPT_UNSENT:
		*v = (int)(tp->snd_end - seq_min(tp->snd_nxt, tp->snd_end));
		return 0;
	case CV_OPT_OUTQ:
		*v = (int)(tp->sk.tx_taken - tp->sk.tx_acked);
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
}

static int get_tcp(const struct tcp_sock *tp, enum cv_option opt, int *v)
{
	switch ((unsigned)opt) {
	case CV_OPT_NODELAY:
		*v = tp->nodelay;
		return 0;
	case CV_OPT_CORK:
		*v = tp->cork;
		return 0;
	case CV_OPT_QUICKACK:
		*v = !tp->pingpong;
		return 0;
	case CV_OPT_MAXSEG:
		*v = (int)(tp->state >= TCP_ESTABLISHED || tp->user_mss == 0 ? tp->mss
									     : tp->user_mss);
		return 0;
	case CV_OPT_KEEPIDLE:
		*v = tp->keep_idle_s;
		return 0;
	case CV_OPT_KEEPINTVL:
		*v = tp->keep_intvl_s;
		return 0;
	case CV_OPT_KEEPCNT:
		*v = tp->keep_cnt;
		return 0;
	case CV_OPT_USER_TIMEOUT:
		*v = (int)tp->user_timeout_ms;
		return 0;
	case CV_OPT_SYNCNT:
		*v = tp->syncnt != 0 ? tp->syncnt : (int)tp->sk.engine->tcp->config.syn_retries;
		return 0;
	case CV_OPT_LINGER2:
		*v = tp->linger2_s != 0 ? tp->linger2_s : (int)tp->sk.engine->tcp->config.fin_timeout;
		return 0;
	case CV_OPT_DEFER_ACCEPT:
		*v = retransmits_take(tp->defer_accept);
		return 0;
	case CV_OPT_WINDOW_CLAMP:
		*v = (int)tp->window_clamp;
		return 0;
	case CV_OPT_FASTOPEN:
		*v = tp->fastopen_queue;
		return 0;
	case CV_OPT_FASTOPEN_CONNECT:
		*v = tp->fastopen_connect;
		return 0;
	case CV_OPT_NOTSENT_LOWAT:
		*v = (int)tp->notsent_lowat;
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
}

static uint32_t ms_since(const struct tcp_sock *tp, uint32_t then_ms)
{
	return then_ms == 0 ? 0 : tp->sk.engine->now_ms - then_ms;
}

/* Linux's TCPI_OPT_* bits. */
enum { INFO_TIMESTAMPS = 1, INFO_SACK = 2, INFO_WSCALE = 4, INFO_ECN = 8, INFO_ECN_SEEN = 16, INFO_SYN_DATA = 32 };
/* Linux's TCP_CA_*. */
enum { INFO_CA_OPEN = 0, INFO_CA_DISORDER = 1, INFO_CA_CWR = 2, INFO_CA_RECOVERY = 3, INFO_CA_LOSS = 4 };

static uint8_t info_ca_state(const struct tcp_sock *tp)
{
	if (tp->rto_recovery)
		return INFO_CA_LOSS;
	if (tp->in_recovery)
		return tp->loss->cwr ? INFO_CA_CWR : INFO_CA_RECOVERY;
	return tp->loss != NULL && (tp->loss->dupacks > 0 || tcp_loss_sacked(tp->loss) > 0) ? INFO_CA_DISORDER : INFO_CA_OPEN;
}

static void info_counts(const struct tcp_sock *tp, struct cv_tcp_info *i)
{
	uint32_t mss = tcp_eff_mss(tp);

	i->unacked = (tp->snd_max - tp->snd_una + mss - 1) / mss;
	if (tp->loss != NULL) {
		i->sacked = (tcp_loss_sacked(tp->loss) + mss - 1) / mss;
		i->lost = (tp->loss->lost_bytes + mss - 1) / mss;
	}
	i->total_retrans = tp->total_retrans;
	i->notsent_bytes = tp->snd_end - seq_min(tp->snd_nxt, tp->snd_end);
	i->bytes_acked = tp->bytes_acked;
	i->bytes_received = tp->rx_total;
	i->bytes_sent = tp->bytes_acked + (seq_min(tp->snd_max, tp->snd_end) - seq_min(tp->snd_una, tp->snd_end)) +
			tp->bytes_retrans;
	i->bytes_retrans = tp->bytes_retrans;
	i->segs_out = tp->segs_out;
	i->segs_in = tp->segs_in;
	i->data_segs_in = tp->data_segs_in;
	i->data_segs_out = tp->data_segs_out;
	i->pacing_rate = tcp_pace_rate(tp);
	i->max_pacing_rate = tcp_pace_max(tp);
	i->reordering = 3; /* fixed: RFC5681's three duplicates */
}

static void info_fill(const struct tcp_sock *tp, struct cv_tcp_info *i)
{
	uint32_t mss = tcp_eff_mss(tp);

	memset(i, 0, sizeof(*i));
	i->state = (uint8_t)tcp_state_number(tp->state);
	i->ca_state = info_ca_state(tp);
	i->retransmits = i->backoff = tp->backoff;
	i->probes = (uint8_t)(tp->probes + tp->keep_probes);
	if (tp->state > TCP_SYN_RECEIVED)
		i->options = (uint8_t)((tp->ts_ok ? INFO_TIMESTAMPS : 0) |
			(tp->sack_ok ? INFO_SACK : 0) | (tp->wscale_ok ? INFO_WSCALE : 0) |
			(tp->ecn_ok ? INFO_ECN : 0) | (tp->ecn_seen ? INFO_ECN_SEEN : 0) |
			(tp->syn_data_acked ? INFO_SYN_DATA : 0));
	i->snd_wscale = tp->snd_wscale;
	i->rcv_wscale = tp->rcv_wscale;
	i->rto = tp->rto_us;
	i->ato = (uint32_t)(TCP_DELACK / 1000);
	i->snd_mss = mss;
	i->rcv_mss = mss;
	i->advmss = mss;
	i->pmtu = tp->pmtu != 0 ? tp->pmtu : tp->path.mtu;
	i->last_data_sent = ms_since(tp, (uint32_t)(tp->last_data_tx_ns / MS));
	i->last_data_recv = ms_since(tp, tp->last_data_rx_ms);
	i->last_ack_recv = ms_since(tp, tp->last_rx_ms);
	i->rtt = tp->srtt_us;
	i->rttvar = tp->rttvar_us;
	i->min_rtt = tp->min_rtt_us;
	i->snd_ssthresh = tp->ssthresh == UINT32_MAX ? INT32_MAX : tp->ssthresh / mss;
	i->snd_cwnd = tp->cwnd / mss;
	i->snd_wnd = tp->snd_wnd;
	i->rcv_space = tp->sk.rcvbuf;
	i->rcv_ssthresh = tp->rcv_adv - tp->rcv_nxt;
	info_counts(tp, i);
}

static int copy_out(void *value, uint32_t *len, const void *from, size_t size)
{
	if (*len > size)
		*len = (uint32_t)size;
	memcpy(value, from, *len);
	return 0;
}

int tcp_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len)
{
	const struct tcp_sock *tp = tcp_of(sk);
	struct cv_tcp_info info;
	int v = 0, ret;

	if (opt == CV_OPT_TCP_INFO) {
		info_fill(tp, &info);
		return copy_out(value, len, &info, sizeof(info));
	}
	if (opt == CV_OPT_CONGESTION) {
		char name[CV_CONGESTION_NAME_BYTES] = "";

		memcpy(name, tp->cc->name, strnlen(tp->cc->name, sizeof(name) - 1));
		return copy_out(value, len, name, sizeof(name));
	}
	if (opt == CV_OPT_MAX_PACING_RATE) {
		uint64_t rate = tcp_pace_max(tp);

		return copy_out(value, len, &rate, sizeof(rate));
	}
	if (opt == CV_OPT_FASTOPEN_KEY) {
		uint8_t keys[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES];

		return copy_out(value, len, keys, tcp_fastopen_keys_get(tp, keys));
	}
	ret = get_tcp(tp, opt, &v);
	if (ret == -CV_ENOPROTOOPT)
		ret = get_socket(tp, opt, &v);
	return ret != 0 ? ret : copy_out(value, len, &v, sizeof(v));
}
