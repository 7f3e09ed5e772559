/* SPDX-License-Identifier: BSD-3-Clause */
/* A segment's layout and a group's memory beside it. Defaults and limits stand here. */
#include <stdlib.h>
#include <string.h>

#include "stack/user/priv.h"

#define PAGE ((uint64_t)CV_SEGMENT_PAGE)

/* Memory is touched only when used: these are addresses, not bytes. */
#define SOCKS_DEFAULT 65536u
#define RXDS_DEFAULT 262144u
#define LANES_DEFAULT 1024u
#define LANES_MAX 16384u
#define SETS_DEFAULT 4096u
#define CMD_ENTRIES_DEFAULT 256u
/* Send buffers of one thread under way, and their memory: what peers that do not read keep away from those that
 * do, so there is plenty. */
#define COMP_ENTRIES_DEFAULT 262144u
#define SET_ENTRIES_DEFAULT 4096u
#define RX_BYTES_DEFAULT (256ull << 20)
#define TX_BYTES_LANE_DEFAULT (64ull << 20) /* times the lanes: what a hostile program can make real */

static uint32_t pick(uint32_t wanted, uint32_t standard, uint32_t min, uint32_t max)
{
	uint32_t v = wanted ? wanted : standard;

	return v < min ? min : v > max ? max : v;
}

static uint32_t pick_pow2(uint32_t wanted, uint32_t standard)
{
	uint32_t v = pick(wanted, standard, 4, 1u << 18);

	return 1u << (32 - __builtin_clz(v - 1));
}

static uint64_t round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

static uint64_t pick_bytes(uint64_t wanted, uint64_t standard, uint64_t unit)
{
	uint64_t v = wanted ? wanted : standard;

	return round_up(v > 1ull << 40 ? 1ull << 40 : v, unit);
}

void user_geometry(const struct user_limits *limits, struct cv_segment *geo)
{
	static const struct user_limits none;
	const struct user_limits *l = limits ? limits : &none;
	uint64_t off = PAGE;

	memset(geo, 0, sizeof(*geo));
	geo->magic = CV_SEGMENT_MAGIC;
	geo->version = CV_API_VERSION;
	geo->workers = l->workers ? l->workers : 1;
	geo->socks_max = pick(l->socks_max, SOCKS_DEFAULT, 2, 1u << CV_SOCK_INDEX_BITS);
	geo->rxds_max = pick(l->rxds_max, RXDS_DEFAULT, 4, 1u << 24);
	geo->lanes_max = pick(l->lanes_max, LANES_DEFAULT, 1, LANES_MAX) * geo->workers; /* so many threads */
	geo->sets_max = geo->lanes_max + pick(l->sets_max, SETS_DEFAULT, 1, 1u << 16);
	geo->cmd_entries = pick_pow2(l->cmd_entries, CMD_ENTRIES_DEFAULT);
	geo->comp_entries = pick_pow2(l->comp_entries, COMP_ENTRIES_DEFAULT);
	geo->set_entries = pick_pow2(l->set_entries, SET_ENTRIES_DEFAULT);
	geo->rx_bytes =
		pick_bytes(l->rx_bytes, RX_BYTES_DEFAULT, (uint64_t)ARENA_SPAN_BYTES * geo->workers);
	geo->tx_bytes_lane = pick_bytes(l->tx_bytes_lane, TX_BYTES_LANE_DEFAULT, PAGE);

	geo->lane_stride = round_up(sizeof(struct cv_lane) +
			(uint64_t)geo->cmd_entries * sizeof(struct cv_command) +
			(uint64_t)geo->comp_entries * sizeof(uint64_t),
		PAGE);
	geo->set_stride = round_up(
		sizeof(struct cv_set) + (uint64_t)geo->set_entries * sizeof(uint64_t), CV_CACHE_LINE);

	geo->socks_off = off;
	off = round_up(off + (uint64_t)geo->socks_max * sizeof(struct cv_sock), PAGE);
	geo->rxds_off = off;
	off = round_up(off + (uint64_t)geo->rxds_max * sizeof(struct cv_rxd), PAGE);
	geo->lanes_off = off;
	off = round_up(off + geo->lanes_max * geo->lane_stride, PAGE);
	geo->sets_off = off;
	off = round_up(off + (uint64_t)geo->workers * geo->sets_max * geo->set_stride, PAGE);
	geo->rx_off = off;
	off = round_up(off + geo->rx_bytes, PAGE);
	geo->tx_off = off;
	off = round_up(off + geo->lanes_max * geo->tx_bytes_lane, PAGE);
	geo->size = off;
}

uint64_t user_segment_size(const struct user_limits *limits)
{
	struct cv_segment geo;

	user_geometry(limits, &geo);
	return geo.size;
}

/* Where this worker's part of n things begins; the next one's is its end. */
static uint32_t part(const struct user_group *g, uint32_t n, unsigned worker)
{
	return (uint32_t)((uint64_t)n * worker / g->geo.workers);
}

static struct cv_set *set_at(const struct user_group *g, uint32_t set, uint16_t worker)
{
	return (struct cv_set *)(g->seg + g->geo.sets_off +
				 ((uint64_t)worker * g->geo.sets_max + set) * g->geo.set_stride);
}

void user_lane_place(struct user_group *g, struct user_lane *l)
{
	l->g = g;
	l->index = (uint32_t)(l - g->lanes);
	l->shared = (struct cv_lane *)(g->seg + g->geo.lanes_off + l->index * g->geo.lane_stride);
	l->cmds = (struct cv_command *)(l->shared + 1);
	l->comps = (uint64_t *)(l->cmds + g->geo.cmd_entries);
}

void user_set_place(struct user_group *g, struct user_set *s)
{
	uint32_t i = (uint32_t)(s - g->sets);

	s->shared = set_at(g, i, g->worker);
	s->armed = &set_at(g, i, 0)->armed;
	s->ring = (uint64_t *)(s->shared + 1);
	s->group = g;
	s->watches = USER_NONE;
}

static int lanes_init(struct user_group *g)
{
	g->lanes = calloc(g->geo.lanes_max, sizeof(*g->lanes));
	g->active = calloc(g->geo.lanes_max, sizeof(*g->active));
	g->sets = calloc(g->geo.sets_max, sizeof(*g->sets));
	if (!g->lanes || !g->active || !g->sets)
		return -1;
	g->sets_fresh = g->geo.lanes_max; /* below are the lanes' own */
	g->sets_free = USER_NONE;
	return 0;
}

int user_group_memory_init(struct user_group *g)
{
	g->records = (struct cv_sock *)(g->seg + g->geo.socks_off);
	g->rxds = (struct cv_rxd *)(g->seg + g->geo.rxds_off);
	g->watches_max = 4 * g->geo.socks_max + g->geo.sets_max;
	g->socks = calloc(g->geo.socks_max, sizeof(*g->socks));
	g->rxd_own = calloc(g->geo.rxds_max, sizeof(*g->rxd_own));
	g->watches = calloc(g->watches_max, sizeof(*g->watches));
	if (!g->socks || !g->rxd_own || !g->watches || lanes_init(g) != 0 ||
		arena_init(&g->arena, g->geo.rx_bytes / g->geo.workers) != 0 ||
		pool_init(&g->chunks, sizeof(struct user_chunk) + USER_CHUNK_BYTES, USER_CHUNKS_MAX) != 0)
		return -1;
	g->rx_off = g->geo.rx_off + g->geo.rx_bytes / g->geo.workers * g->worker;
	g->lanes_first = part(g, g->geo.lanes_max, g->worker);
	g->lanes_end = part(g, g->geo.lanes_max, g->worker + 1u);
	g->socks_end = part(g, g->geo.socks_max, g->worker + 1u);
	g->rxds_end = part(g, g->geo.rxds_max, g->worker + 1u);
	/* Index 0 means none in the contract. */
	g->socks_first = g->worker > 0 ? part(g, g->geo.socks_max, g->worker) : 1;
	g->socks_fresh = g->socks_first;
	g->socks_free_head = g->socks_free_tail = USER_NONE;
	g->rxds_fresh = g->worker > 0 ? part(g, g->geo.rxds_max, g->worker) : 1;
	g->rxds_free = CV_RXD_NONE;
	g->watches_free = USER_NONE;
	return 0;
}

void user_group_memory_fini(struct user_group *g)
{
	if (g->lanes) {
		for (uint32_t i = 0; i < g->geo.lanes_max; i++)
			free(g->lanes[i].bufs);
	}
	for (uint32_t i = 0; i < g->procs_top; i++) {
		free(g->procs[i].holds);
		free(g->procs[i].retained);
	}
	free(g->lanes);
	free(g->active);
	free(g->sets);
	free(g->socks);
	free(g->rxd_own);
	free(g->watches);
	arena_fini(&g->arena);
	pool_fini(&g->chunks);
}
