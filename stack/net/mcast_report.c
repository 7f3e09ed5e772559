/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a host tells routers of its groups, both families alike: changes at once and once more for each that may be
 * lost, answers to queries after a random wait, all in the words of the oldest querier that was heard (RFC3376:5 and
 * 7, RFC3810:6 and 8). The messages are igmp.c's and mld.c's.
 *
 * A change that comes while the one before is still being told widens it: what is told is always the difference
 * between what routers knew before and what is wanted now.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/mcast_priv.h"
#include "stack/net/priv.h"

#define SECOND_NS 1000000000ull
#define CHANGE_NS SECOND_NS /* RFC3376:8.11, unsolicited report interval */
#define ROBUSTNESS 2u
#define ROBUSTNESS_MAX 7u
#define RECORDS_MAX 32u

struct mcast_iface *mcast_iface_of(struct iface *i, bool v4)
{
	return &i->mcast[!v4];
}

static bool is_v4(const struct mcast_iface *mi)
{
	return mi == &mi->iface->mcast[0];
}

static struct mcast_iface *mi_of(const struct mcast_group *g)
{
	return mcast_iface_of(g->iface, addr_is_v4(g->addr));
}

static struct engine *engine_of(const struct mcast_iface *mi)
{
	return mi->iface->engine;
}

static unsigned age_now(const struct mcast_iface *mi)
{
	uint64_t now = engine_of(mi)->now_ns;

	if (mi->old_until_ns[1] > now)
		return 2;
	return mi->old_until_ns[0] > now ? 1 : 0;
}

static void timer_within(struct engine *e, struct timer *t, uint64_t ns)
{
	timer_set(&e->wheel, t, e->now_ns + (ns > 0 ? e->env.random64(e->env.ctx) % ns : 0));
}

/* Whether an answer that waits comes soon enough. */
static bool comes_within(const struct engine *e, const struct timer *t, uint64_t ns)
{
	return timer_is_set(t) && t->expires <= (e->now_ns + ns) >> WHEEL_TICK_SHIFT;
}

/* All hosts and all nodes are never spoken of (RFC3376:6, RFC3810:6), nor is what stays inside. */
static bool is_silent(const struct mcast_group *g)
{
	static const uint8_t all_hosts[4] = {224, 0, 0, 1};

	if (g->iface->engine->worker != 0)
		return true;
	if (addr_is_v4(g->addr))
		return memcmp(g->addr + 12, all_hosts, 4) == 0;
	return (g->addr[1] & 0xf) < 2 || (addr_scope(g->addr) == g->iface->port->ifindex && g->addr[1] == 2 &&
						 memcmp(g->addr + 4, "\0\0\0\0\0\0\0\0\0\0\0\1", 12) == 0);
}

/* What records may take of a message: no fragments are made of it, and it lies in one packet buffer. */
static uint32_t room_of(const struct mcast_iface *mi)
{
	uint32_t buffer = rte_pktmbuf_data_room_size(engine_of(mi)->pkt_pool) - RTE_PKTMBUF_HEADROOM;

	return (mi->iface->port->mtu < buffer ? mi->iface->port->mtu : buffer) - 64u;
}

static uint32_t bytes_of(const struct mcast_iface *mi, const struct mcast_record *r)
{
	return 4 + (is_v4(mi) ? 4u : 16u) * (1u + r->n);
}

static void say(const struct mcast_iface *mi, const struct mcast_record *r, unsigned n)
{
	if (is_v4(mi))
		igmp_records(mi->iface, r, n);
	else
		mld_records(mi->iface, r, n);
}

static void say_old(const struct mcast_iface *mi, const uint8_t group[16], unsigned age, bool leave)
{
	if (is_v4(mi))
		igmp_old(mi->iface, group, age, leave);
	else if (age > 0)
		mld_old(mi->iface, group, leave);
}

/* a without b */
static uint8_t minus(uint8_t to[][16], const struct mcast_filter *a, const struct mcast_filter *b)
{
	uint8_t n = 0;

	for (unsigned i = 0; i < a->n; i++) {
		if (!mcast_filter_has(b, a->src[i]))
			memcpy(to[n++], a->src[i], 16);
	}
	return n;
}

/* RFC3376:5.1: a filter-mode change, or a source-list change. */
static void say_change(struct mcast_group *g, const struct mcast_filter *was, const struct mcast_filter *is)
{
	uint8_t more[MCAST_FILTER_MAX][16], less[MCAST_FILTER_MAX][16];
	struct mcast_record r[2];
	unsigned n = 0;

	if (was->mode != is->mode) {
		r[n++] = (struct mcast_record){
			is->mode == MCAST_MODE_EXCLUDE ? MCAST_TO_EX : MCAST_TO_IN, is->n, g->addr, is->src};
	} else {
		bool in = is->mode == MCAST_MODE_INCLUDE;
		uint8_t gained = minus(more, is, was), lost = minus(less, was, is);

		if (in ? gained : lost)
			r[n++] = (struct mcast_record){
				MCAST_ALLOW, in ? gained : lost, g->addr, in ? more : less};
		if (in ? lost : gained)
			r[n++] = (struct mcast_record){
				MCAST_BLOCK, in ? lost : gained, g->addr, in ? less : more};
	}
	if (n == 2 && bytes_of(mi_of(g), &r[0]) + bytes_of(mi_of(g), &r[1]) > room_of(mi_of(g)))
		say(mi_of(g), &r[--n], 1);
	if (n > 0)
		say(mi_of(g), r, n);
}

static bool wants_anything(const struct mcast_filter *f)
{
	return f->mode == MCAST_MODE_EXCLUDE || f->n > 0;
}

/* Old versions know of joining and leaving only, and the oldest not of leaving. */
static void say_change_old(
	struct mcast_group *g, unsigned age, const struct mcast_filter *was, const struct mcast_filter *is)
{
	if (wants_anything(is)) {
		if (wants_anything(was))
			return;
		say_old(mi_of(g), g->addr, age, false);
		g->reported = true;
		return;
	}
	if (age == 1 && g->reported)
		say_old(mi_of(g), g->addr, age, true);
	g->changes_left = 0; /* once (RFC2236:3) */
}

static void change_say(struct mcast_group *g)
{
	struct mcast_iface *mi = mi_of(g);
	struct mcast_filter is;
	unsigned age = age_now(mi);

	mcast_group_filter(g, &is);
	if (g->changes_left > 0)
		g->changes_left--;
	if (age == 0)
		say_change(g, &g->known, &is);
	else
		say_change_old(g, age, &g->known, &is);
	if (g->changes_left > 0) {
		timer_within(engine_of(mi), &g->change, CHANGE_NS);
		return;
	}
	g->known = is;
	if (!wants_anything(&is))
		mcast_group_end(g);
}

static void change_timer(struct engine *e, struct timer *t)
{
	(void)e;
	change_say(cv_container_of(t, struct mcast_group, change));
}

void mcast_report_change(struct mcast_group *g, const struct mcast_filter *before)
{
	struct mcast_iface *mi = mi_of(g);
	struct mcast_filter is;

	if (g->changes_left == 0)
		g->known = *before;
	if (is_silent(g) || !g->iface->port->device->up) {
		mcast_group_filter(g, &is);
		g->known = is;
		g->changes_left = 0;
		if (!wants_anything(&is))
			mcast_group_end(g);
		return;
	}
	g->changes_left = mi->robustness;
	change_say(g);
}

/* --- queries ------------------------------------------------------------------------------------- */

/* RFC3376:5.2: a group's present state; to a query about sources, those of them that are wanted. */
static bool state_record(struct mcast_group *g, struct mcast_filter *f, struct mcast_record *r)
{
	uint8_t wanted = 0;

	mcast_group_filter(g, f);
	if (!wants_anything(f))
		return false;
	if (g->asked_n == 0) {
		*r = (struct mcast_record){
			f->mode == MCAST_MODE_EXCLUDE ? MCAST_IS_EX : MCAST_IS_IN, f->n, g->addr, f->src};
		return true;
	}
	for (unsigned i = 0; i < g->asked_n; i++) {
		if (mcast_filter_has(f, g->asked[i]) == (f->mode == MCAST_MODE_INCLUDE))
			memcpy(g->asked[wanted++], g->asked[i], 16);
	}
	g->asked_n = 0;
	*r = (struct mcast_record){MCAST_IS_IN, wanted, g->addr, g->asked};
	return wanted > 0;
}

static void group_answer(struct mcast_group *g)
{
	struct mcast_iface *mi = mi_of(g);
	unsigned age = age_now(mi);
	struct mcast_record r;
	struct mcast_filter f;

	if (is_silent(g) || !state_record(g, &f, &r))
		return;
	if (age == 0) {
		say(mi, &r, 1);
		return;
	}
	say_old(mi, g->addr, age, false);
	g->reported = true;
}

static void group_timer(struct engine *e, struct timer *t)
{
	(void)e;
	group_answer(cv_container_of(t, struct mcast_group, answer));
}

/* As many groups a message as its records leave room for. */
static void general_timer(struct engine *e, struct timer *t)
{
	struct mcast_iface *mi = cv_container_of(t, struct mcast_iface, answer);
	uint32_t used = 0;
	struct mcast_filter f[RECORDS_MAX];
	struct mcast_record r[RECORDS_MAX];
	unsigned n = 0;

	(void)e;
	list_for_each(node, &mi->groups)
	{
		struct mcast_group *g = list_entry(node, struct mcast_group, node);

		if (is_silent(g) || !state_record(g, &f[n], &r[n]))
			continue;
		if (n == RECORDS_MAX - 1 || used + bytes_of(mi, &r[n]) > room_of(mi)) {
			say(mi, r, n);
			f[0] = f[n];
			r[0] = r[n];
			if (r[0].src == f[n].src)
				r[0].src = f[0].src;
			n = 0;
			used = 0;
		}
		used += bytes_of(mi, &r[n]);
		n++;
	}
	if (n > 0)
		say(mi, r, n);
}

static void group_query(struct mcast_group *g, const struct mcast_query *q)
{
	struct engine *e = g->iface->engine;
	bool pending = timer_is_set(&g->answer);
	unsigned size = addr_is_v4(g->addr) ? 4 : 16;

	if (q->n == 0 || q->age > 0 || (pending && g->asked_n == 0) ||
		g->asked_n + (unsigned)q->n > MCAST_FILTER_MAX) {
		g->asked_n = 0; /* about all of it */
	} else {
		for (unsigned i = 0; i < q->n; i++) {
			uint8_t *to = g->asked[g->asked_n++];

			if (size == 4)
				addr_from_v4(to, q->src + 4 * i);
			else
				memcpy(to, q->src + 16 * i, 16);
		}
	}
	if (comes_within(e, &g->answer, q->max_ns))
		return;
	timer_within(e, &g->answer, q->max_ns);
}

void mcast_report_query(struct mcast_iface *mi, const struct mcast_query *q)
{
	struct engine *e = engine_of(mi);
	struct mcast_group *g;

	if (q->robustness > 0)
		mi->robustness = q->robustness > ROBUSTNESS_MAX ? ROBUSTNESS_MAX : q->robustness;
	if (q->age > 0) /* RFC3376:8.12 */
		mi->old_until_ns[q->age - 1] = e->now_ns + mi->robustness * q->interval_ns + q->max_ns;
	if (!q->general) {
		g = mcast_group_find(mi->iface, q->group);
		if (g != NULL && !comes_within(e, &mi->answer, q->max_ns))
			group_query(g, q);
		return;
	}
	if (age_now(mi) == 0) {
		if (!timer_is_set(&mi->answer))
			timer_within(e, &mi->answer, q->max_ns);
		return;
	}
	timer_del(&e->wheel, &mi->answer);
	list_for_each(node, &mi->groups)
		group_query(list_entry(node, struct mcast_group, node), q);
}

void mcast_report_heard(struct mcast_iface *mi, const uint8_t group[16])
{
	struct mcast_group *g = mcast_group_find(mi->iface, group);

	if (g == NULL || age_now(mi) == 0 || !timer_is_set(&g->answer))
		return;
	timer_del(&engine_of(mi)->wheel, &g->answer);
	g->reported = false;
}

/* --- life ---------------------------------------------------------------------------------------- */

void mcast_report_init(struct mcast_iface *mi, struct iface *i)
{
	*mi = (struct mcast_iface){.iface = i, .robustness = ROBUSTNESS};
	list_init(&mi->groups);
	timer_init(&mi->answer, general_timer);
}

void mcast_report_group_init(struct mcast_group *g)
{
	timer_init(&g->change, change_timer);
	timer_init(&g->answer, group_timer);
	list_add_tail(&mi_of(g)->groups, &g->node);
}

void mcast_report_group_fini(struct mcast_group *g)
{
	struct wheel *wheel = &g->iface->engine->wheel;

	timer_del(wheel, &g->change);
	timer_del(wheel, &g->answer);
	list_del(&g->node);
}

void mcast_report_up(struct mcast_iface *mi)
{
	const struct mcast_filter none = {.mode = MCAST_MODE_INCLUDE};

	list_for_each_safe(node, &mi->groups)
	{
		struct mcast_group *g = list_entry(node, struct mcast_group, node);

		g->changes_left = 0;
		mcast_report_change(g, &none);
	}
}
