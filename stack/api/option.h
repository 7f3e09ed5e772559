/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket options of the contract, by number, and the layouts that are not an int. */
#ifndef CULVERT_API_OPTION_H
#define CULVERT_API_OPTION_H

#include <stdint.h>

#include "segment.h"

enum cv_option {
	CV_OPT_NONE = 0,
#define X(name, level, option, type) CV_OPT_##name,
#include "option.def"
#undef X
	CV_OPT_COUNT
};

#define CV_CONGESTION_NAME_BYTES 16 /* CV_OPT_CONGESTION: a zero-terminated name */

/* CV_OPT_FASTOPEN_KEY: the key that cookies are made with, then or not the one before it, whose cookies are still taken. */
#define CV_FASTOPEN_KEY_BYTES 16
#define CV_FASTOPEN_KEYS_MAX 2

/* CV_OPT_MCAST_*: a group, for those with _SOURCE a source, on an interface (0: where packets to the group go). */
struct cv_mreq {
	uint8_t group[16]; /* network order, IPv4 mapped */
	uint32_t ifindex;
	uint8_t source[16];
};

/* A membership's whole filter (RFC3678) takes several requests: the sources by CV_OPT_MCAST_FILTER_SOURCE, one each, then
 * CV_OPT_MCAST_FILTER with the group, the interface, and in the place of a source how many there were (or -CV_EINVAL: somebody
 * else came in between) and the mode. It is read by CV_OPT_MCAST_FILTER with a value that begins as struct cv_mreq does, up to
 * the interface; the answer is this and `n` sources of 16 bytes. */
#define CV_MCAST_MODE_AT 0   /* in cv_mreq.source: 0 include, 1 exclude; others are refused */
#define CV_MCAST_NUMBER_AT 1
#define CV_MCAST_SOURCES_MAX 64u /* Linux's mld_max_msf; of IPv4 igmp_max_msf: */
#define CV_MCAST_SOURCES_MAX4 10u
struct cv_mcast_filter {
	uint32_t mode, n;
};

#define CV_DEVICE_NAME_BYTES 16 /* CV_OPT_BINDTODEVICE: a port's name, zero-terminated; empty: any */

/* CV_OPT_ERRQUEUE, which takes the oldest error out of a datagram socket's queue (-CV_EAGAIN: there is none): what
 * Linux gives by MSG_ERRQUEUE (ip(7), IP_RECVERR). Behind it follow `quoted` bytes of the datagram. */
enum cv_error_origin { CV_ORIGIN_LOCAL = 1, CV_ORIGIN_ICMP = 2, CV_ORIGIN_ICMP6 = 3 };
struct cv_error_report {
	struct cv_endpoint to;       /* of the datagram that the error is about */
	struct cv_endpoint offender; /* who says so; not with CV_ORIGIN_LOCAL */
	uint32_t error;              /* enum cv_error */
	uint32_t info;               /* as the ICMP message has it: the MTU, the pointer */
	uint16_t quoted;
	uint8_t origin, type, code;
	uint8_t more; /* another ICMP error is in the queue: it is the pending one now */
	uint8_t spare[2];
};
#define CV_ERROR_QUOTED_MAX 1208u /* an ICMPv6 error has at most 1184 */

/* CV_OPT_TCP_INFO. Times in microseconds, sizes in bytes unless named otherwise; the meaning of each
 * field is that of the same name in Linux's struct tcp_info. state is enum cv_tcp_state. */
struct cv_tcp_info {
	uint8_t state, ca_state, retransmits, probes, backoff, options, snd_wscale, rcv_wscale;
	uint32_t rto, ato, snd_mss, rcv_mss;
	uint32_t unacked, sacked, lost, retrans; /* segments */
	uint32_t last_data_sent, last_data_recv, last_ack_recv; /* ms ago */
	uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss; /* cwnd: segments */
	uint32_t rcv_rtt, rcv_space, total_retrans, notsent_bytes, min_rtt, snd_wnd;
	uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
	uint32_t segs_out, segs_in, data_segs_in, data_segs_out, reordering, dsack_dups;
	uint64_t pacing_rate, max_pacing_rate; /* bytes in a second; UINT64_MAX: no bound */
};

/* Linux's numbers, so that TCP_INFO and `culvert ss` agree with the tools. */
enum cv_tcp_state {
	CV_TCP_ESTABLISHED = 1, CV_TCP_SYN_SENT, CV_TCP_SYN_RECEIVED, CV_TCP_FIN_WAIT_1,
	CV_TCP_FIN_WAIT_2, CV_TCP_TIME_WAIT, CV_TCP_CLOSED, CV_TCP_CLOSE_WAIT, CV_TCP_LAST_ACK,
	CV_TCP_LISTEN, CV_TCP_CLOSING,
};

#endif
