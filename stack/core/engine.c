/* SPDX-License-Identifier: BSD-3-Clause */
/* The turn. */
#include "stack/core/engine.h"

#include "stack/net/ip.h"
#include "stack/sock/sock.h"

#define TIMER_BUDGET 256u

const struct engine_counter_name engine_counter_names[ENGINE_COUNTERS_N] = {
#define X(name, text) {#name, text},
#include "stack/core/counters.def"
#undef X
};

static uint32_t turn_receive(struct engine *e)
{
	struct rte_mbuf *pkts[ENGINE_BURST];
	uint32_t work = 0;

	for (uint16_t i = 0; i < e->ports_n; i++) {
		uint16_t n = e->env.rx(e->env.ctx, e->ports[i]->id, pkts, ENGINE_BURST);

		if (n > 0)
			net_input(e, e->ports[i], pkts, n);
		work += n;
	}
	return work + net_loopback_input(e);
}

/* Sockets that queue themselves again meanwhile are served in the next turn. */
static void turn_output(struct engine *e)
{
	struct list now;
	struct list *node;

	for (uint16_t i = 0; i < e->ports_n; i++)
		port_flush(e, e->ports[i]); /* what a device had no room for goes first */
	list_init(&now);
	list_splice_tail(&now, &e->output);
	while ((node = list_pop(&now)) != NULL) {
		struct sock *sk = list_entry(node, struct sock, output_node);

		sk->proto->output(sk);
	}
	for (uint16_t i = 0; i < e->ports_n; i++)
		port_flush(e, e->ports[i]);
}

static void turn_events(struct engine *e)
{
	struct list now;
	struct list *node;

	list_init(&now);
	list_splice_tail(&now, &e->dirty);
	while ((node = list_pop(&now)) != NULL) {
		if (e->sock_event != NULL)
			e->sock_event(e->user_ctx, list_entry(node, struct sock, dirty_node));
	}
	if (e->events_done != NULL)
		e->events_done(e->user_ctx);
}

uint32_t engine_turn(struct engine *e, uint64_t now_ns)
{
	uint32_t work = 0;

	e->now_ns = now_ns;
	if (e->commands != NULL)
		work += e->commands(e->user_ctx);
	work += turn_receive(e);
	work += wheel_advance(&e->wheel, e, now_ns, TIMER_BUDGET);
	turn_output(e);
	turn_events(e);
	return work;
}

uint64_t engine_deadline_ns(const struct engine *e)
{
	uint64_t first = UINT64_MAX, next = wheel_next_ns(&e->wheel);

	if (!list_empty(&e->output) || !list_empty(&e->dirty) || net_has_loopback(e))
		return e->now_ns;
	for (uint16_t i = 0; i < e->ports_n; i++) {
		if (e->ports[i]->tx_n > 0)
			first = e->now_ns + PORT_TX_RETRY_NS;
	}
	return first < next ? first : next;
}
