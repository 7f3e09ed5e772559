/* SPDX-License-Identifier: BSD-3-Clause */
/* See program.h. */
#include "tests/world/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#define MS 1000000ull

const struct world_link program_link = {.delay_ns = MS};
const struct user_limits program_limits = {.socks_max = 2048,
	.rxds_max = 1024,
	.lanes_max = 8,
	.sets_max = 64,
	.cmd_entries = 64,
	.comp_entries = 512,
	.set_entries = 64,
	.rx_bytes = 4 << 20,
	.tx_bytes_lane = 2 << 20};

static bool ring(void *ctx, int bell)
{
	struct program_host *h = ctx;

	h->rings++;
	h->last_bell = bell;
	return !h->bells_block;
}

void program_host_init(struct program_host *h, struct world *w, int host)
{
	const struct user_env env = {.ctx = h, .ring = ring};

	*h = (struct program_host){.w = w, .workers = w->host[host].workers};
	h->u = user_new(w->host[host].e, &env);
	assert_non_null(h->u);
	for (uint16_t k = 1; k < h->workers; k++) {
		h->more[k - 1] = user_new(world_engine(&w->host[host], k), &env);
		assert_non_null(h->more[k - 1]);
	}
}

void program_host_fini(struct program_host *h)
{
	user_free(h->u);
	for (uint16_t k = 1; k < h->workers; k++)
		user_free(h->more[k - 1]);
}

static struct user_group *group_at(const struct program_group *g, uint16_t worker)
{
	return worker == 0 ? g->g : g->more[worker - 1];
}

/* Memory as the kernel gives it, zero and touched when needed, between two pages that nobody may touch. */
static uint8_t *segment_map(uint64_t size)
{
	uint8_t *whole = mmap(NULL, size + 2 * CV_SEGMENT_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(whole != MAP_FAILED);
	assert_int_equal(mprotect(whole + CV_SEGMENT_PAGE, size, PROT_READ | PROT_WRITE), 0);
	return whole + CV_SEGMENT_PAGE;
}

struct program_group *program_group_new(struct program_host *h, const struct user_limits *limits)
{
	struct program_group *g = calloc(1, sizeof(*g));
	struct user_limits all = {0};

	assert_non_null(g);
	if (limits != NULL)
		all = *limits;
	all.workers = h->workers;
	all.number = ++h->groups_n;
	g->host = h;
	g->size = user_segment_size(&all);
	g->seg = segment_map(g->size);
	for (uint16_t k = 0; k < h->workers; k++) {
		struct user_group **at = k == 0 ? &g->g : &g->more[k - 1];

		all.worker = k;
		*at = user_group_open(k == 0 ? h->u : h->more[k - 1], g->seg, g->size, &all);
		assert_non_null(*at);
	}
	return g;
}

static void group_done(void *arg)
{
	struct program_group *g = arg;

	g->done = ++g->done_n == g->host->workers;
}

static bool group_is_done(void *ctx)
{
	return ((struct program_group *)ctx)->done;
}

void program_group_free(struct program_group *g)
{
	for (uint16_t k = 0; k < g->host->workers; k++)
		user_group_close(group_at(g, k), group_done, g);
	assert_true(g->done || world_run(g->host->w, 4000 * 1000 * MS, group_is_done, g));
	while (g->lanes != NULL) {
		struct program *lane = g->lanes;

		g->lanes = lane->next_lane;
		free(lane);
	}
	munmap(g->seg - CV_SEGMENT_PAGE, g->size + 2 * CV_SEGMENT_PAGE);
	free(g);
}

static const struct cv_segment *geo(const struct program_group *g)
{
	return (const struct cv_segment *)(const void *)g->seg;
}

static void lane_locate(struct program *p, int lane)
{
	assert_true(lane >= 0);
	p->lane = (uint32_t)lane;
	p->shared = (void *)(p->group->seg + geo(p->group)->lanes_off +
		p->lane * geo(p->group)->lane_stride);
	p->tail = p->shared->cmd_tail;
	p->seq = 0;
	memset(p->slot_used, 0, sizeof(p->slot_used));
	p->slots_used = 0;
	assert_true(geo(p->group)->tx_bytes_lane >= PROGRAM_SLOT * PROGRAM_SLOTS);
}

/* The lane's set is known to all. */
static int lane_open(const struct program_group *g, int proc, uint16_t worker)
{
	int lane = user_lane_open(group_at(g, worker), proc, 100 + proc);

	for (uint16_t k = 0; lane >= 0 && k < g->host->workers; k++) {
		if (k != worker)
			user_lane_mirror(group_at(g, k), proc, (uint32_t)lane, 100 + proc);
	}
	return lane;
}

void program_lane_open(struct program *p)
{
	lane_locate(p, lane_open(p->group, p->proc, 0));
	for (uint16_t k = 1; k < p->group->host->workers; k++) {
		struct program *m = p->more[k - 1];

		if (m == NULL) {
			m = p->more[k - 1] = calloc(1, sizeof(*m));
			assert_non_null(m);
			m->next_lane = p->group->lanes;
			p->group->lanes = m;
		}
		m->group = p->group;
		m->proc = p->proc;
		lane_locate(m, lane_open(p->group, p->proc, k));
	}
}

int program_set_open(struct program *p, int bell)
{
	int set = user_set_open(p->group->g, p->proc, bell);

	for (uint16_t k = 1; k < p->group->host->workers; k++)
		assert_int_equal(user_set_open(group_at(p->group, k), p->proc, bell), set);
	return set;
}

void program_set_close(struct program *p, int set)
{
	for (uint16_t k = 0; k < p->group->host->workers; k++)
		assert_int_equal(user_set_close(group_at(p->group, k), p->proc, (uint32_t)set), 0);
}

void program_start(struct program *p, struct program_group *g, const struct program *parent)
{
	int from = parent != NULL ? parent->proc : -1;

	*p = (struct program){.group = g};
	p->proc = user_proc_open(g->g, from, 1000);
	assert_true(p->proc >= 0);
	for (uint16_t k = 1; k < g->host->workers; k++)
		assert_int_equal(user_proc_open(group_at(g, k), from, 1000), p->proc);
	program_lane_open(p);
}

void program_end(struct program *p)
{
	for (uint16_t k = 0; k < p->group->host->workers; k++)
		user_proc_close(group_at(p->group, k), p->proc);
}

bool program_end_some(struct program *p, uint32_t most)
{
	bool over = true;

	for (uint16_t k = 0; k < p->group->host->workers; k++)
		over &= user_proc_end(group_at(p->group, k), p->proc, most);
	return over;
}

void program_exec(struct program *p, const uint32_t *kept, uint32_t n)
{
	for (uint16_t k = 0; k < p->group->host->workers; k++) {
		user_proc_exec(group_at(p->group, k), p->proc);
		user_proc_retain(group_at(p->group, k), p->proc, kept, n);
		user_proc_retain_done(group_at(p->group, k), p->proc);
	}
}

struct program *program_of(struct program *p, uint32_t sock)
{
	if (sock == CV_SOCK_NONE || p->group->host->workers == 1 || p->more[0] == NULL)
		return p; /* the lane is chosen */
	return program_record(p, sock)->worker == 0 ? p : p->more[program_record(p, sock)->worker - 1];
}

void program_post(struct program *p, struct cv_command c)
{
	struct cv_command *ring_at;

	p = program_of(p, c.sock);
	ring_at = (struct cv_command *)(void *)(p->shared + 1);
	assert_true(p->tail - p->shared->cmd_head < geo(p->group)->cmd_entries);
	ring_at[p->tail++ & (geo(p->group)->cmd_entries - 1)] = c;
	__atomic_store_n(&p->shared->cmd_tail, p->tail, __ATOMIC_RELEASE);
}

int program_say(struct program *p, struct cv_command c)
{
	return user_proc_command(group_at(p->group, (uint16_t)program_record(p, c.sock)->worker), p->proc, &c);
}

int program_call(struct program *p, struct cv_command c)
{
	p = program_of(p, c.sock);
	c.seq = ++p->seq;
	program_post(p, c);
	/* What waits for other workers' answers is looked at again in a later turn. */
	for (unsigned i = 0; i < 4 && p->shared->reply_seq != p->seq; i++)
		world_run(p->group->host->w, 0, NULL, NULL);
	assert_int_equal(p->shared->reply_seq, p->seq);
	return p->shared->reply_result;
}

struct cv_sock *program_record(struct program *p, uint32_t sock)
{
	return (struct cv_sock *)(void *)(p->group->seg + geo(p->group)->socks_off) +
		CV_SOCK_INDEX(sock);
}

uint32_t program_open(struct program *p, enum cv_type type)
{
	int handle = program_call(p, (struct cv_command){.op = CV_CMD_OPEN, .family = CV_AF_INET,
					     .type = (uint8_t)type});

	assert_true(handle > 0);
	return (uint32_t)handle;
}

uint32_t program_bound(struct program *p, int host, uint16_t port)
{
	uint32_t sock = program_open(p, CV_DGRAM);

	assert_int_equal(program_call(p, (struct cv_command){.op = CV_CMD_BIND, .sock = sock,
						 .peer = world_endpoint(host, port)}), 0);
	return sock;
}

uint32_t program_listener(struct program *p, int host, uint16_t port)
{
	uint32_t sock = program_open(p, CV_STREAM);

	assert_int_equal(program_call(p, (struct cv_command){.op = CV_CMD_BIND, .sock = sock,
						 .peer = world_endpoint(host, port),
						 .arg = CV_BIND_REUSEADDR}), 0);
	assert_int_equal(program_call(p, (struct cv_command){.op = CV_CMD_LISTEN, .sock = sock,
						 .arg = 64}), 0);
	return sock;
}

/* By the workers in turn, as a program's connects. */
uint32_t program_connect(struct program *p, int host, uint16_t port)
{
	uint16_t worker = p->connects++ % p->group->host->workers;
	uint32_t sock = program_open(worker == 0 ? p : p->more[worker - 1], CV_STREAM);

	assert_int_equal(program_call(p, (struct cv_command){.op = CV_CMD_CONNECT, .sock = sock,
						 .family = CV_AF_INET,
						 .peer = world_endpoint(host, port)}), 0);
	return sock;
}

/* The chain's step, as segment.h tells it. NULL when all was read. */
/* In the segment, or in a packet buffer when the group is inside (segment.h). */
static const uint8_t *program_bytes(const struct program *p, const struct cv_rxd *d)
{
	if (d->off & CV_RXD_INSIDE)
		return (const uint8_t *)(uintptr_t)(d->off & ~CV_RXD_INSIDE);
	return p->group->seg + d->off;
}

static struct cv_rxd *chain_at(struct program *p, struct cv_sock *rec)
{
	struct cv_rxd *rxds = (struct cv_rxd *)(void *)(p->group->seg + geo(p->group)->rxds_off);

	if (rec->rx_consumed == __atomic_load_n(&rec->rx_produced, __ATOMIC_ACQUIRE))
		return NULL;
	if (rec->rx_head_pos == rec->rx_consumed) {
		rec->rx_cur = rec->rx_head;
		rec->rx_off = 0;
	} else if (rec->rx_off >= rxds[rec->rx_cur].len) {
		rec->rx_cur = rxds[rec->rx_cur].next;
		rec->rx_off = 0;
	}
	return &rxds[rec->rx_cur];
}

uint32_t program_accept(struct program *p, uint32_t listener, bool announce)
{
	struct cv_sock *rec = program_record(p, listener);
	struct cv_rxd *d = chain_at(p, rec);
	uint32_t sock;

	if (d == NULL)
		return CV_SOCK_NONE;
	sock = d->sock;
	rec->rx_off = 1; /* of a descriptor of length 0: the step goes on to the next */
	rec->rx_consumed++;
	program_record(p, sock)->taker = (uint32_t)p->proc + 1;
	if (announce)
		program_post(p, (struct cv_command){.op = CV_CMD_ACCEPTED, .sock = sock});
	return sock;
}

void program_close(struct program *p, uint32_t sock)
{
	program_post(p, (struct cv_command){.op = CV_CMD_CLOSE, .sock = sock,
				.pos = program_record(p, sock)->tx_pos});
}

void program_collect(struct program *p)
{
	const struct cv_command *cmds = (const void *)(p->shared + 1);
	const uint64_t *comps = (const void *)(cmds + geo(p->group)->cmd_entries);
	uint64_t arena = geo(p->group)->tx_off + p->lane * geo(p->group)->tx_bytes_lane;

	while (p->shared->comp_head != __atomic_load_n(&p->shared->comp_tail, __ATOMIC_ACQUIRE)) {
		uint64_t off = comps[p->shared->comp_head++ & (geo(p->group)->comp_entries - 1)];
		uint64_t slot = (off - arena) / PROGRAM_SLOT;

		assert_true(slot < PROGRAM_SLOTS && p->slot_used[slot]); /* once each */
		p->slot_used[slot] = false;
		p->slots_used--;
	}
}

static uint64_t slot_take(struct program *p)
{
	for (unsigned i = 0; i < PROGRAM_SLOTS; i++) {
		if (p->slot_used[i])
			continue;
		p->slot_used[i] = true;
		p->slots_used++;
		return geo(p->group)->tx_off + p->lane * geo(p->group)->tx_bytes_lane +
			i * PROGRAM_SLOT;
	}
	return 0;
}

uint32_t program_send(struct program *p, uint32_t sock, const void *data, uint32_t len,
	const struct cv_endpoint *to)
{
	struct cv_sock *rec = program_record(p, sock);
	struct cv_command c = {.op = CV_CMD_SEND, .sock = sock, .family = CV_AF_NONE};
	uint32_t done = 0;

	p = program_of(p, sock);
	if (to != NULL) {
		c.family = CV_AF_INET;
		c.peer = *to;
	}
	program_collect(p);
	do {
		uint32_t n = len - done < PROGRAM_SLOT ? len - done : PROGRAM_SLOT;

		if (rec->tx_pos + n - rec->tx_acked > rec->sndbuf ||
			p->tail - p->shared->cmd_head >= geo(p->group)->cmd_entries - 4 ||
			(c.off = slot_take(p)) == 0)
			break;
		memcpy(p->group->seg + c.off, (const uint8_t *)data + done, n);
		c.len = n;
		c.pos = rec->tx_pos;
		program_post(p, c);
		rec->tx_pos += n;
		done += n;
	} while (done < len);
	return done;
}

uint32_t program_recv(struct program *p, uint32_t sock, void *data, uint32_t len,
	struct cv_endpoint *from)
{
	struct cv_sock *rec = program_record(p, sock);
	uint32_t done = 0;
	struct cv_rxd *d;

	while (done < len && (d = chain_at(p, rec)) != NULL) {
		uint32_t n = d->len - rec->rx_off;

		if (rec->type == CV_STREAM && n > rec->rx_produced - rec->rx_consumed)
			n = (uint32_t)(rec->rx_produced - rec->rx_consumed);
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)data + done, program_bytes(p, d) + rec->rx_off, n);
		done += n;
		if (rec->type == CV_DGRAM) {
			if (from != NULL)
				*from = d->peer;
			rec->rx_off = d->len ? d->len : 1;
			rec->rx_consumed++;
			break;
		}
		rec->rx_off += n;
		rec->rx_consumed += n;
	}
	if (rec->rx_consumed >= rec->rx_notify_pos || rec->rx_consumed == rec->rx_produced)
		program_post(p, (struct cv_command){.op = CV_CMD_RECVD, .sock = sock});
	return done;
}

struct user_group_info program_info(const struct program_group *g)
{
	struct user_group_info info;

	user_group_info(g->g, &info);
	for (uint16_t k = 1; k < g->host->workers; k++) {
		struct user_group_info more;

		user_group_info(group_at(g, k), &more);
		info.socks += more.socks;
		info.rxds_used += more.rxds_used;
		info.watches += more.watches;
		info.rx_bytes_used += more.rx_bytes_used;
		info.tx_bytes_used += more.tx_bytes_used;
		info.txbufs_used += more.txbufs_used;
		info.starved += more.starved;
		info.violations += more.violations;
		info.refused += more.refused;
	}
	return info;
}
