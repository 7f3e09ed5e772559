/* SPDX-License-Identifier: BSD-3-Clause */
/* The composition root: the one file that knows all layers and protocols of an engine. */
#include <netinet/in.h>
#include <stdlib.h>

#include "stack/core/crew.h"
#include "stack/core/engine.h"
#include "stack/net/ip.h"
#include "stack/sock/sock.h"
#include "stack/tcp/tcp.h"
#include "stack/udp/udp.h"

#define DEFAULT(field, value) ((field) = (field) ? (field) : (value))

struct engine *engine_new(const struct engine_config *config, const struct engine_env *env,
	uint64_t now_ns, const char **why)
{
	struct engine *e = calloc(1, sizeof(*e));

	*why = "memory is short";
	if (e == NULL)
		return NULL;
	e->config = *config;
	DEFAULT(e->config.tcp_max, 262144);
	DEFAULT(e->config.udp_max, 65536);
	DEFAULT(e->config.neigh_max, 4096);
	DEFAULT(e->config.neigh_queue, 16);
	e->env = *env;
	engine_set_now(e, now_ns);
	e->pkt_pool = config->pkt_pool;
	e->crew = config->crew;
	e->worker = config->worker;
	if (e->crew != NULL)
		e->crew->engines[e->worker] = e;
	list_init(&e->dirty);
	list_init(&e->output);
	wheel_init(&e->wheel, now_ns);
	e->l4[e->l4_n++] = (struct engine_l4){IPPROTO_TCP, tcp_input, tcp_icmp_error};
	e->l4[e->l4_n++] = (struct engine_l4){IPPROTO_UDP, udp_input, udp_icmp_error};
	if (e->pkt_pool == NULL ||
		rte_pktmbuf_priv_size(e->pkt_pool) < sizeof(struct pkt)) {
		*why = "the packet pool has no private area for struct pkt";
		free(e);
		return NULL;
	}
	e->rx_held_max = e->pkt_pool->size / 2 / (e->crew != NULL ? e->crew->n : 1);
	e->rx_lent_max = e->pkt_pool->size / 4;
	if (net_init(e) != 0 || udp_init(e) != 0 || tcp_init(e) != 0) {
		engine_free(e);
		return NULL;
	}
	return e;
}

void engine_free(struct engine *e)
{
	/* First who takes single timers off the wheel: the others leave theirs where they are, in
	 * memory that goes. */
	net_fini(e);
	tcp_fini(e);
	udp_fini(e);
	free(e);
}

int sock_open(struct engine *e, uint8_t family, uint8_t type, struct sock **out)
{
	if (type == CV_STREAM)
		return tcp_open(e, family, out);
	if (type == CV_DGRAM)
		return udp_open(e, family, out);
	return -CV_EPROTONOSUPPORT;
}
