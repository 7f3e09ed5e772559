/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP_INFO against the packets: while a transfer runs over a bad link, a witness on the wire counts what the client's host
 * sends and takes, and what TCP_INFO says must be that, at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "tests/world/transfer.h"

#define SENDINGS 8192u

struct witness {
	struct run *r;
	uint32_t iss, snd_max; /* SND.MAX: behind the highest byte that was sent */
	uint32_t ack_sent;     /* the latest ACK sent: what is wholly before it is a repeat, */
	uint32_t acked;        /* the highest ACK taken, */
	uint32_t acked_surely; /* and the same without repeats, whose ACK does not count (RFC9293:3.10.7.4, first) */
	uint64_t bytes_sent, bytes_retrans;
	uint32_t segs_out, segs_in, data_segs_out, data_segs_in, retrans;
	/* the first sending of what ends there; again: sent more than once, says nothing of the round trip */
	struct {
		uint32_t end;
		uint64_t at_ns;
		bool again;
	} sent[SENDINGS];
	unsigned sent_n, sent_first;
	uint64_t min_rtt_ns, max_rtt_ns;
};

static void saw_sent(struct witness *t, const struct wire_tcp *h, uint32_t len)
{
	t->segs_out++;
	if (h->flags & TCP_ACK)
		t->ack_sent = h->ack;
	if (h->flags & TCP_SYN) {
		t->iss = t->acked = t->acked_surely = h->seq;
		t->snd_max = h->seq + 1;
	}
	if (len == 0)
		return;
	t->data_segs_out++;
	t->bytes_sent += len;
	if (seq_lt(h->seq, t->snd_max)) {
		t->retrans++;
		t->bytes_retrans += seq_min(t->snd_max, h->seq + len) - h->seq;
		for (unsigned i = t->sent_first; i < t->sent_n; i++)
			if (seq_gt(t->sent[i].end, h->seq) && seq_leq(t->sent[i].end, h->seq + len))
				t->sent[i].again = true;
	}
	if (seq_gt(h->seq + len, t->snd_max)) {
		t->snd_max = h->seq + len;
		assert_true(t->sent_n < SENDINGS);
		t->sent[t->sent_n].end = t->snd_max;
		t->sent[t->sent_n].again = false;
		t->sent[t->sent_n++].at_ns = t->r->w->now_ns;
	}
}

static void saw_taken(struct witness *t, const struct wire_tcp *h, uint32_t len)
{
	t->segs_in++;
	t->data_segs_in += len > 0;
	if ((h->flags & TCP_SYN) || len == 0 || seq_gt(h->seq + len, t->ack_sent))
		t->acked_surely = seq_max(t->acked_surely, h->ack);
	if (!(h->flags & TCP_ACK) || seq_leq(h->ack, t->acked))
		return;
	t->acked = h->ack;
	for (; t->sent_first < t->sent_n && seq_leq(t->sent[t->sent_first].end, h->ack); t->sent_first++) {
		uint64_t took = t->r->w->now_ns - t->sent[t->sent_first].at_ns;

		if (t->sent[t->sent_first].again)
			continue;
		if (t->min_rtt_ns == 0 || took < t->min_rtt_ns)
			t->min_rtt_ns = took;
		if (took > t->max_rtt_ns)
			t->max_rtt_ns = took;
	}
}

static void watch(void *ctx, int host, bool sent, const uint8_t *frame, uint32_t len)
{
	const struct rte_ipv4_hdr *ip = (const void *)(frame + RTE_ETHER_HDR_LEN);
	uint32_t ip_len = rte_be_to_cpu_16(ip->total_length);
	struct wire_tcp h;

	if (host != 0 || frame[12] != 0x08 || frame[13] != 0x00 || ip->next_proto_id != IPPROTO_TCP)
		return;
	assert_true(len >= RTE_ETHER_HDR_LEN + ip_len);
	assert_true(wire_tcp_parse(&h, (const uint8_t *)(ip + 1), ip_len - sizeof(*ip)));
	(sent ? saw_sent : saw_taken)(ctx, &h, ip_len - (uint32_t)sizeof(*ip) - h.header_bytes);
}

static void agree(const struct witness *t)
{
	struct cv_tcp_info i;
	uint32_t len = sizeof(i);

	if (!(t->r->client.sk->status & CV_ST_CONNECTED))
		return; /* its SYN may wait for the neighbour's address */
	assert_int_equal(sock_getopt(t->r->client.sk, CV_OPT_TCP_INFO, &i, &len), 0);
	assert_int_equal(i.segs_out, t->segs_out);
	assert_int_equal(i.segs_in, t->segs_in);
	assert_int_equal(i.data_segs_out, t->data_segs_out);
	assert_int_equal(i.data_segs_in, t->data_segs_in);
	assert_int_equal(i.bytes_sent, t->bytes_sent);
	assert_int_equal(i.bytes_retrans, t->bytes_retrans);
	assert_int_equal(i.total_retrans, t->retrans);
	if (i.state == CV_TCP_ESTABLISHED)
		assert_in_range(i.bytes_acked, t->acked_surely - t->iss - 1, t->acked - t->iss - 1);
	assert_true(i.bytes_received >= t->r->client.got);
	assert_int_equal(i.last_ack_recv > 1000, 0);
	if (t->min_rtt_ns != 0) {
		/* The round trip of the SYN counts, too, and is the link's. */
		assert_in_range(i.min_rtt, 2 * t->r->plan->link.delay_ns / 1000, t->min_rtt_ns / 1000 + 1);
		assert_in_range(i.rtt, i.min_rtt, (t->max_rtt_ns + 250 * MS) / 1000);
		assert_true(i.rto >= i.rtt + 4 * i.rttvar - 1000 && i.rto >= 200000);
	}
}

static void compared(const struct plan *plan, uint64_t seed)
{
	struct run *r = run_new(plan, seed);
	struct witness t = {.r = r};
	struct cv_tcp_info i;
	uint32_t len = sizeof(i);

	r->w->watch = watch;
	r->w->watch_ctx = &t;
	for (unsigned steps = 0; !run_done(r) && steps < 200000; steps++) {
		run_step(r);
		agree(&t);
	}
	assert_true(run_done(r));
	assert_int_equal(sock_getopt(r->client.sk, CV_OPT_TCP_INFO, &i, &len), 0);
	assert_int_equal(i.unacked, 0);
	assert_int_equal(i.sacked, 0);
	assert_int_equal(i.lost, 0);
	assert_int_equal(i.bytes_received, r->client.got);
	assert_int_equal(i.notsent_bytes, 0);
	assert_int_equal(i.snd_mss, 1448);
	assert_true(plan->link.loss == 0 || t.retrans > 0);
	r->w->watch = NULL;
	run_end(r);
}

static void perfect_link__tcp_info__is_what_the_wire_saw(void **state)
{
	(void)state;
	compared(&(struct plan){.link = {.delay_ns = 10 * MS}, .bytes = 1000000}, 1);
}

static void lossy_link__tcp_info__is_what_the_wire_saw(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		compared(&(struct plan){.link = {.delay_ns = 10 * MS, .loss = 30, .spares_arp = true}, .bytes = 1000000}, seed);
}

static void reordering_and_duplicates__tcp_info__is_what_the_wire_saw(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		compared(&(struct plan){.link = {.delay_ns = 10 * MS, .reorder = 100, .reorder_ns = 4 * MS, .duplicate = 50},
				 .bytes = 1000000}, seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(perfect_link__tcp_info__is_what_the_wire_saw),
		cmocka_unit_test(lossy_link__tcp_info__is_what_the_wire_saw),
		cmocka_unit_test(reordering_and_duplicates__tcp_info__is_what_the_wire_saw),
	};

	world_eal_init("tcp_info");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
