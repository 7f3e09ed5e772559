/* SPDX-License-Identifier: BSD-3-Clause */
/* Bulk flows: see flows.h. */
#include "tests/world/flows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"

void flows_begin(const char *name)
{
	world_eal_init_large(name, 98303);
	world_tcp.rmem_max = world_tcp.wmem_max = 160u << 20;
}

struct path path_over(const struct world_link *link, uint16_t mtu)
{
	struct cv_endpoint at = world_endpoint(1, 80);
	struct path p = {.w = world_new(1, link)};

	for (int i = 0; i < 2; i++) {
		p.w->host[i].port.mtu = mtu;
		assert_int_equal(net_port_changed(p.w->host[i].e, &p.w->host[i].port), 0);
	}
	assert_int_equal(sock_open(p.w->host[1].e, CV_AF_INET, CV_STREAM, &p.listener), 0);
	p.listener->user = p.w;
	assert_int_equal(sock_bind(p.listener, &at), 0);
	assert_int_equal(sock_listen(p.listener, 8), 0);
	return p;
}

struct path path_new(uint64_t rate, uint64_t rtt, uint64_t queue, uint64_t mark)
{
	return path_over(
		&(struct world_link){.delay_ns = rtt / 2, .rate_bps = rate, .queue_bytes = queue, .mark_bytes = mark},
		1500);
}

uint64_t bdp(uint64_t rate, uint64_t rtt)
{
	return rate / 8000 * (rtt / MS);
}

struct flow *flow_open(struct path *p, const char *algorithm)
{
	struct flow *f = &p->flow[p->n++];
	struct cv_endpoint to = world_endpoint(1, 80);

	assert_int_equal(sock_setopt(p->listener, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	assert_int_equal(sock_open(p->w->host[0].e, CV_AF_INET, CV_STREAM, &f->out), 0);
	f->out->user = p->w;
	assert_int_equal(sock_setopt(f->out, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	assert_int_equal(sock_connect(f->out, &to), 0);
	for (int i = 0; i < 1000 && (f->in = sock_accept(p->listener)) == NULL; i++)
		world_run(p->w, STEP, NULL, NULL);
	assert_non_null(f->in);
	f->in->user = p->w;
	sock_accept_done(p->listener);
	return f;
}

static void buffer_free(struct txbuf *b, void *ctx)
{
	(void)ctx;
	free(b);
}

/* As much as the send buffer takes. */
static void flow_write(struct flow *f)
{
	static const uint8_t zeros[65536];

	while (!f->quiet && f->out->tx_taken - f->out->tx_acked < f->out->sndbuf) {
		struct txbuf *b = calloc(1, sizeof(*b));

		assert_non_null(b);
		*b = (struct txbuf){.data = zeros, .len = sizeof(zeros), .release = buffer_free};
		assert_int_equal(sock_send(f->out, b), 0);
	}
}

static void flow_read(struct flow *f)
{
	struct rte_mbuf *m;

	while ((m = sock_recv_take(f->in)) != NULL) {
		f->got += rte_pktmbuf_pkt_len(m);
		sock_consumed(f->in, rte_pktmbuf_pkt_len(m));
		rte_pktmbuf_free(m);
	}
}

void path_run(struct path *p, uint64_t ns)
{
	for (uint64_t t = 0; t < ns; t += STEP) {
		for (unsigned i = 0; i < p->n; i++) {
			flow_write(&p->flow[i]);
			flow_read(&p->flow[i]);
		}
		world_run(p->w, STEP, NULL, NULL);
	}
}

uint64_t flow_rate(struct path *p, struct flow *f, uint64_t ns)
{
	uint64_t before = f->got;

	path_run(p, ns);
	return (f->got - before) * 8 * 1000 / (ns / MS);
}

void path_end(struct path *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		sock_close(p->flow[i].out, true);
		sock_close(p->flow[i].in, true);
	}
	sock_close(p->listener, false);
	world_run(p->w, 2 * SEC, NULL, NULL);
	world_free(p->w);
}

void flow_story(const struct path *p, const struct flow *f)
{
	const struct tcp_sock *tp = tcp_of(f->out);

	if (getenv("CONGESTION_STORY") == NULL)
		return;
	print_message("t %5llu ms cwnd %u ssthresh %u flight %u sndbuf %u rcvbuf %u srtt %u rexmt %u drops %llu marks "
		      "%llu queue %llu got %llu%s%s\n",
		(unsigned long long)(p->w->now_ns / MS), tp->cwnd / MSS, tp->ssthresh / MSS,
		(tp->snd_max - tp->snd_una) / MSS, f->out->sndbuf, f->in->rcvbuf, tp->srtt_us, tp->total_retrans,
		(unsigned long long)p->w->wire[1].queue_drops, (unsigned long long)p->w->wire[1].marks,
		(unsigned long long)world_queued(p->w, 1), (unsigned long long)f->got,
		tp->in_recovery ? " recovery" : "", tp->rto_recovery ? " RTO" : "");
}
