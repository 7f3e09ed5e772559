/* SPDX-License-Identifier: BSD-3-Clause */
/* The turn. */
#include "stack/core/engine.h"

#include "stack/core/crew.h"
#include "stack/net/ip.h"
#include "stack/sock/sock.h"

#define TIMER_BUDGET 256u

const struct engine_counter_name engine_counter_names[ENGINE_COUNTERS_N] = {
#define X(name, text) {#name, text},
#include "stack/core/counters.def"
#undef X
};

const struct engine_tcp_config engine_tcp_defaults = {
#define X(key, min, max, def, text) .key = def,
#include "stack/core/tcp_config.def"
#undef X
};

static void port_look(struct engine *e, uint16_t i)
{
	e->rx_n = e->env.rx(e->env.ctx, e->ports[i]->id, e->rx, ENGINE_BURST);
	e->rx_port = i;
}

/* One burst of each port; what a look has taken already is its port's. */
static uint32_t turn_receive(struct engine *e)
{
	uint16_t looked = e->rx_n > 0 ? e->rx_port : PORTS_MAX;
	uint32_t work = 0;

	for (uint16_t i = 0; i < e->ports_n; i++) {
		uint16_t port = (uint16_t)(looked < PORTS_MAX ? (looked + i) % e->ports_n : i), n;

		if (port != looked)
			port_look(e, port);
		n = e->rx_n;
		e->rx_n = 0;
		if (n > 0)
			net_input(e, e->ports[port], e->rx, n);
		work += n;
	}
	work += net_loopback_input(e);
	if (e->crew != NULL)
		work += crew_receive(e);
	return work;
}

bool engine_look(struct engine *e)
{
	if (!list_empty(&e->output) || !list_empty(&e->dirty) || net_has_loopback(e) ||
		(e->pending != NULL && e->pending(e->user_ctx)) ||
		(e->crew != NULL && crew_pending(e)))
		return true;
	for (uint16_t i = 0; i < e->ports_n; i++) {
		if (e->ports[i]->tx_n > 0)
			return true;
		if (e->rx_n == 0)
			port_look(e, i);
		if (e->rx_n > 0)
			return true;
	}
	return false;
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

	engine_set_now(e, now_ns);
	if (e->commands != NULL)
		work += e->commands(e->user_ctx);
	work += turn_receive(e);
	work += wheel_advance(&e->wheel, e, now_ns, TIMER_BUDGET);
	turn_output(e);
	turn_events(e);
	if (e->crew != NULL)
		crew_wake(e);
	return work;
}

uint64_t engine_deadline_ns(const struct engine *e)
{
	uint64_t first = UINT64_MAX, next = wheel_next_ns(&e->wheel);

	if (!list_empty(&e->output) || !list_empty(&e->dirty) || net_has_loopback(e) ||
		e->unsent_n > 0 || (e->crew != NULL && crew_pending(e)))
		return e->now_ns;
	for (uint16_t i = 0; i < e->ports_n; i++) {
		if (e->ports[i]->tx_n > 0)
			first = e->now_ns + PORT_TX_RETRY_NS;
	}
	return first < next ? first : next;
}
