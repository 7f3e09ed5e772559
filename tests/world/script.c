/* SPDX-License-Identifier: BSD-3-Clause */
/* See script.h. */
#include "tests/world/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "stack/base/addr.h"

static const uint8_t engine_ip[4] = {10, 0, 0, 1}, peer_ip[4] = {10, 0, 0, 2};
static unsigned written, released; /* send buffers of the running script */

struct script *script_new(uint64_t seed)
{
	static const struct world_link wire = {.delay_ns = 0};
	struct script *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	written = released = 0;
	s->w = world_new(seed, &wire);
	s->e = s->w->host[0].e;
	s->iss = SCRIPT_ISS;
	s->port = SCRIPT_PORT;
	s->peer_port = SCRIPT_PEER_PORT;
	s->wnd = 65535;
	s->mss = 1460;
	s->tsval = 1;
	return s;
}

void script_free(struct script *s)
{
	uint32_t socks, waits;

	script_wait(s, 3600 * SEC);
	tcp_count(s->e, &socks, &waits);
	assert_int_equal(socks, 0);
	assert_int_equal(waits, 0);
	assert_int_equal(written, released);
	world_free(s->w);
	for (unsigned i = 0; i < SCRIPT_SEGS; i++)
		free(s->segs[i].data);
	free(s);
}

/* --- the peer's end of the wire ------------------------------------------------------------------ */

static void arp_answer(struct script *s, const uint8_t *frame, uint32_t len)
{
	struct {
		struct rte_ether_hdr eth;
		struct rte_arp_hdr arp;
	} out;

	if (len < sizeof(out))
		return;
	memcpy(&out, frame, sizeof(out));
	if (out.arp.arp_opcode != rte_cpu_to_be_16(RTE_ARP_OP_REQUEST) ||
		memcmp(&out.arp.arp_data.arp_tip, peer_ip, 4) != 0)
		return;
	memcpy(&out.eth.dst_addr, &out.eth.src_addr, 6);
	memcpy(&out.eth.src_addr, s->w->host[1].port.mac, 6);
	out.arp.arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
	out.arp.arp_data.arp_tha = out.arp.arp_data.arp_sha;
	out.arp.arp_data.arp_tip = out.arp.arp_data.arp_sip;
	memcpy(&out.arp.arp_data.arp_sha, s->w->host[1].port.mac, 6);
	memcpy(&out.arp.arp_data.arp_sip, peer_ip, 4);
	world_inject(s->w, 0, &out, sizeof(out));
}

/* Checks what every segment on a wire must be, and keeps it. */
static void segment_take(struct script *s, const uint8_t *frame, uint32_t len)
{
	const struct rte_ipv4_hdr *ip = (const void *)(frame + sizeof(struct rte_ether_hdr));
	uint32_t ip_len = rte_be_to_cpu_16(ip->total_length), tcp_len = ip_len - sizeof(*ip);
	const uint8_t *tcp = (const uint8_t *)(ip + 1);
	struct script_seg *seg = &s->segs[s->tail % SCRIPT_SEGS];

	assert_true(len >= sizeof(struct rte_ether_hdr) + ip_len);
	/* Over all that is there, the checksum included, the sum is complete: its complement is 0. */
	assert_int_equal((uint16_t)~rte_ipv4_udptcp_cksum(ip, tcp) & 0xffff, 0xffff);
	assert_true(wire_tcp_parse(&seg->h, tcp, tcp_len));
	if (s->forgets && s->tail - s->head == SCRIPT_SEGS)
		s->head++;
	assert_true(s->tail - s->head < SCRIPT_SEGS);
	seg->at_ns = s->w->now_ns;
	seg->tos = ip->type_of_service;
	seg->ttl = ip->time_to_live;
	if ((seg->h.flags & TCP_SYN) && !s->irs_known) {
		s->irs = seg->h.seq;
		s->irs_known = true;
		s->port = seg->h.sport;
	}
	seg->seq = seg->h.seq - s->irs;
	seg->ack = seg->h.flags & TCP_ACK ? seg->h.ack - s->iss : 0;
	seg->len = tcp_len - seg->h.header_bytes;
	free(seg->data);
	seg->data = malloc(seg->len + 1); /* one byte for those who want text */
	assert_non_null(seg->data);
	memcpy(seg->data, tcp + seg->h.header_bytes, seg->len);
	if (seg->h.has_ts)
		s->tsecr = seg->h.tsval;
	s->tail++;
}

static void frames_take(struct script *s)
{
	struct list *wire = &s->w->wire[1].frames;

	while (!list_empty(wire)) {
		struct world_frame *f = list_entry(wire->next, struct world_frame, node);

		if (f->data[12] == 8 && f->data[13] == 6)
			arp_answer(s, f->data, f->len);
		else if (f->data[12] == 8 && f->data[13] == 0 && f->data[23] == IPPROTO_TCP)
			segment_take(s, f->data, f->len);
		world_frame_free(s->w, f);
	}
}

static bool frame_waits(const struct script *s)
{
	return !list_empty(&s->w->wire[0].frames);
}

/* Until `end`, or a segment is there when one is waited for. */
static void run(struct script *s, uint64_t end, bool for_segment)
{
	for (;;) {
		uint64_t next;

		do {
			engine_turn(s->e, s->w->now_ns);
			frames_take(s);
		} while (frame_waits(s));
		if (for_segment && s->head != s->tail)
			return;
		next = engine_deadline_ns(s->e);
		if (next > end) {
			s->w->now_ns = end;
			return;
		}
		s->w->now_ns = next > s->w->now_ns ? next : s->w->now_ns;
	}
}

void script_wait(struct script *s, uint64_t ns)
{
	run(s, s->w->now_ns + ns, false);
}

const struct script_seg *script_next(struct script *s, uint64_t within_ns)
{
	run(s, s->w->now_ns + within_ns, true);
	return s->head == s->tail ? NULL : &s->segs[s->head++ % SCRIPT_SEGS];
}

static const char *text_of(char *out, size_t size, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	static const char *const names[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
	int n = 0;

	for (unsigned i = 0; i < 8; i++) {
		if (flags & (1u << i))
			n += snprintf(out + n, size - (size_t)n, "%s ", names[i]);
	}
	snprintf(out + n, size - (size_t)n, "seq %u ack %u len %u", seq, ack, len);
	return out;
}

const struct script_seg *script_expect_at(struct script *s, uint64_t within_ns, uint8_t flags, uint32_t seq,
	uint32_t ack, uint32_t len, const char *file, int line)
{
	const struct script_seg *seg = script_next(s, within_ns);
	char wanted[96], got[96];

	text_of(wanted, sizeof(wanted), flags, seq, ack, len);
	if (seg == NULL) {
		print_error("%s:%d: nothing came, wanted %s\n", file, line, wanted);
		_fail(file, line);
	}
	/* PSH says nothing that a test of states should care about. */
	if ((seg->h.flags & ~TCP_PSH) != (flags & ~TCP_PSH) || seg->seq != seq ||
		((flags & TCP_ACK) && seg->ack != ack) || seg->len != len) {
		print_error("%s:%d: got %s, wanted %s\n", file, line,
			text_of(got, sizeof(got), seg->h.flags, seg->seq, seg->ack, seg->len), wanted);
		_fail(file, line);
	}
	return seg;
}

void script_quiet_at(struct script *s, uint64_t ns, const char *file, int line)
{
	const struct script_seg *seg = script_next(s, ns);
	char got[96];

	if (seg == NULL)
		return;
	print_error("%s:%d: got %s, wanted nothing\n", file, line,
		text_of(got, sizeof(got), seg->h.flags, seg->seq, seg->ack, seg->len));
	_fail(file, line);
}

void script_queue(struct script *s, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint32_t len)
{
	static uint8_t frame[WORLD_FRAME_BYTES];
	struct rte_ether_hdr *eth = (void *)frame;
	struct rte_ipv4_hdr *ip = (void *)(eth + 1);
	uint32_t options = s->ip_options != NULL ? 4 : 0;
	struct rte_tcp_hdr *tcp = (void *)((uint8_t *)(ip + 1) + options);
	struct wire_tcp h = {.sport = s->peer_port, .dport = s->port, .seq = seq + s->iss,
		.ack = flags & TCP_ACK ? ack + s->irs : 0, .flags = flags, .wnd = s->wnd, .urg = s->urg,
		.has_ts = s->ts, .tsval = s->tsval, .tsecr = s->tsecr, .sacks_n = s->sacks_n};
	size_t head;

	if (flags & TCP_SYN) {
		h.has_mss = s->mss != 0;
		h.mss = s->mss;
		h.sack_ok = s->sack_ok;
		h.has_wscale = s->has_wscale;
		h.wscale = s->wscale;
		h.has_fo = s->has_fo;
		h.fo_n = s->fo_n;
		memcpy(h.fo, s->fo, s->fo_n);
	}
	for (unsigned i = 0; i < s->sacks_n; i++)
		h.sacks[i] = (struct range){s->sacks[i].lo + s->irs, s->sacks[i].hi + s->irs};
	head = wire_tcp_emit(&h, (uint8_t *)tcp);
	if (len > 0)
		memcpy((uint8_t *)tcp + head, data, len);
	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = (uint8_t)(0x45 + options / 4);
	ip->type_of_service = s->tos;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + options + head + len));
	ip->time_to_live = 64;
	ip->next_proto_id = IPPROTO_TCP;
	memcpy(&ip->src_addr, s->from_ip != NULL ? s->from_ip : peer_ip, 4);
	memcpy(&ip->dst_addr, s->to_ip != NULL ? s->to_ip : engine_ip, 4);
	if (options != 0)
		memcpy(ip + 1, s->ip_options, options);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	memcpy(&eth->src_addr, s->w->host[1].port.mac, 6);
	memcpy(&eth->dst_addr, s->w->host[0].port.mac, 6);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	world_inject(s->w, 0, frame, (uint32_t)(sizeof(*eth) + sizeof(*ip) + options + head + len));
}

void script_send(struct script *s, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint32_t len)
{
	script_queue(s, flags, seq, ack, data, len);
	/* Taken in this very moment, with its answers. */
	do {
		engine_turn(s->e, s->w->now_ns);
		frames_take(s);
	} while (frame_waits(s));
}

/* --- the engine's user ----------------------------------------------------------------------------- */

void script_both_gone(struct script *s, struct sock *a, struct sock *b)
{
	const struct tcp *t = s->e->tcp;

	sock_close(a, true);
	if (b != NULL)
		sock_close(b, true);
	script_wait(s, MS);
	s->head = s->tail;
	assert_int_equal(t->losses.used + t->ooos.used + t->runs.used + t->fastopen_keys.used, 0);
	script_free(s);
}

void script_times_out(struct script *s, struct sock *sk)
{
	for (int i = 0; i < 15; i++)
		assert_non_null(script_next(s, 200 * SEC));
	script_quiet(s, 200 * SEC);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

void script_gone(struct script *s, struct sock *sk)
{
	script_both_gone(s, sk, NULL);
}

void script_set(struct sock *sk, enum cv_option opt, int v)
{
	assert_int_equal(sock_setopt(sk, opt, &v, sizeof(v)), 0);
}

struct sock *script_socket(struct script *s)
{
	struct sock *sk;

	assert_int_equal(sock_open(s->e, CV_AF_INET, CV_STREAM, &sk), 0);
	sk->user = s;
	return sk;
}

struct sock *script_listen(struct script *s, uint32_t backlog)
{
	struct cv_endpoint at = world_endpoint(0, SCRIPT_PORT);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_bind(sk, &at), 0);
	assert_int_equal(sock_listen(sk, backlog), 0);
	return sk;
}

struct sock *script_accept(struct script *s, struct sock *listener)
{
	struct sock *sk = sock_accept(listener);

	assert_non_null(sk);
	sk->user = s;
	sock_accept_done(listener);
	return sk;
}

struct sock *script_established_passive(struct script *s, struct sock **listener)
{
	struct sock *sk, *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	script_is(sk, ESTABLISHED);
	if (listener != NULL)
		*listener = ls;
	else
		sock_close(ls, false);
	return sk;
}

struct sock *script_established_active(struct script *s)
{
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_is(sk, ESTABLISHED);
	return sk;
}

void script_much_later(struct script *s, struct sock *sk, uint32_t came, uint32_t went)
{
	struct tcp_sock *tp = tcp_of(sk);

	assert_int_equal(tp->snd_end, tp->snd_una);
	s->iss += came;
	tp->rcv_nxt += came;
	tp->rcv_adv += came;
	tp->last_ack_sent += came;
	tp->snd_wl1 += came;
	tp->rx_total += came;
	s->irs += went;
	tp->snd_una += went;
	tp->snd_nxt += went;
	tp->snd_max += went;
	tp->snd_end += went;
	tp->snd_wl2 += went;
	sk->tx_taken += went;
	sk->tx_acked += went;
	tp->bytes_acked += went;
}

uint8_t script_byte(uint32_t at)
{
	return (uint8_t)(at * 31 + (at >> 8));
}

void script_write(struct script *s, struct sock *sk, uint32_t n)
{
	uint8_t *data = malloc(n);
	uint32_t at = (uint32_t)sk->tx_taken;

	(void)s;
	assert_non_null(data);
	for (uint32_t i = 0; i < n; i++)
		data[i] = script_byte(at + i);
	assert_int_equal(sock_send(sk, world_txbuf(data, n, &released)), 0);
	written++;
	free(data);
}

enum tcp_state script_state(const struct sock *sk)
{
	return (enum tcp_state)cv_container_of(sk, const struct tcp_sock, sk)->state;
}

void script_is_at(const struct sock *sk, enum tcp_state wanted, const char *file, int line)
{
	if (script_state(sk) == wanted)
		return;
	print_error("%s:%d: the state is %s, not %s\n", file, line, tcp_state_name(script_state(sk)),
		tcp_state_name(wanted));
	_fail(file, line);
}
