/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `culvert ss`, `culvert stat` and `culvert doctor` ask: a copy of the facts is taken on the worker,
 * the text is made of it on the control thread. What grows with the number of sockets is taken in slices, each between
 * two turns: however many there are and however often somebody asks, the worker is held for a slice.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <rte_mempool.h>

#include "dpdk/service.h"
#include "stack/api/option.h"
#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"
#include "stack/udp/udp.h"

struct row {
	uint16_t worker;
	struct tcp_snapshot t;
	bool udp;
	int32_t pid;
	uint32_t status;
	bool is_user;
	uint32_t holders;
	uint64_t rx_total, bytes_acked;
};

/* A look at a place costs the worker 0.1 us at most. */
#define SLICE 1024u

struct facts {
	struct service *s;
	struct worker *w; /* whose facts are being taken */
	uint64_t tcp_at;  /* and how far */
	struct user_sock_place sock_at;
	bool more;
	struct row *rows;
	size_t n, room;
	struct engine_counters counters;
	struct user_group_info *groups;
	size_t groups_n, groups_room;
	uint32_t listeners, connections, time_waits, udp_socks, tcp_socks;
	uint32_t rx_held;
	struct worker_facts {
		struct engine_counters counters;
		uint32_t connections, cpu;
	} of[CV_WORKERS_MAX];
	bool broken; /* memory was short */
};

/* --- on the worker ----------------------------------------------------------------------------- */

static void *grown(void *p, size_t *room, size_t n, size_t size)
{
	if (n < *room)
		return p;
	*room = *room ? *room * 2 : 256;
	return realloc(p, *room * size);
}

static struct row *row_new(struct facts *f)
{
	struct row *rows = grown(f->rows, &f->room, f->n, sizeof(*rows));

	if (!rows) {
		f->broken = true;
		f->room = f->n;
		return NULL;
	}
	f->rows = rows;
	rows[f->n] = (struct row){.worker = f->w->number};
	return &rows[f->n++];
}

static void on_tcp(void *ctx, const struct tcp_snapshot *t)
{
	struct facts *f = ctx;
	struct row *r = row_new(f);
	struct user_sock_info info;

	if (!r)
		return;
	r->t = *t;
	if (t->sk == NULL)
		return;
	if (user_sock_info(t->sk, &info) && info.replica) {
		f->n--; /* its listener is worker 0's */
		return;
	}
	if (user_sock_info(t->sk, &info)) {
		r->is_user = true;
		r->pid = info.pid;
		r->holders = info.holders;
		r->t.recvq = info.recvq;
		r->t.sendq = info.sendq;
	}
	r->rx_total = tcp_of(t->sk)->rx_total;
	r->bytes_acked = tcp_of(t->sk)->bytes_acked;
	r->t.sk = NULL; /* the worker's alone */
}

static void on_sock(const struct user_sock_info *info, void *arg)
{
	struct facts *f = arg;
	struct row *r;

	if (info->sk->type != CV_DGRAM || (r = row_new(f)) == NULL)
		return;
	r->udp = r->is_user = true;
	r->pid = info->pid;
	r->holders = info->holders;
	r->t.local = info->sk->local;
	r->t.peer = info->sk->peer;
	r->t.recvq = info->recvq;
	r->t.sendq = info->sendq;
	r->status = info->sk->status;
}

static void take_rows(void *arg)
{
	struct facts *f = arg;

	f->more = tcp_foreach(f->w->engine, &f->tcp_at, SLICE, on_tcp, f) ||
		user_sock_foreach(f->w->user, &f->sock_at, SLICE, on_sock, f);
}

static void count_tcp(void *ctx, const struct tcp_snapshot *t)
{
	struct facts *f = ctx;

	if (t->state == CV_TCP_LISTEN && f->w->number > 0)
		f->tcp_socks--; /* a replica */
	else if (t->state == CV_TCP_LISTEN)
		f->listeners++;
	else if (t->state == CV_TCP_TIME_WAIT)
		f->time_waits++;
	else
		f->connections++;
}

/* What is counted on each worker; processes and sets are the same on all. */
static void group_add(struct user_group_info *sum, const struct user_group_info *more)
{
	sum->lanes += more->lanes;
	sum->socks += more->socks;
	sum->rxds_used += more->rxds_used;
	sum->watches += more->watches;
	sum->rx_bytes_used += more->rx_bytes_used;
	sum->tx_bytes_used += more->tx_bytes_used;
	sum->txbufs_used += more->txbufs_used;
	sum->starved += more->starved;
	sum->violations += more->violations;
	sum->refused += more->refused;
	sum->closing |= more->closing;
}

static void on_group(struct user_group *g, void *arg)
{
	struct facts *f = arg;
	struct user_group_info info;
	struct user_group_info *groups;

	user_group_info(g, &info);
	for (size_t i = 0; i < f->groups_n; i++) {
		if (f->groups[i].number == info.number) {
			group_add(&f->groups[i], &info);
			return;
		}
	}
	groups = grown(f->groups, &f->groups_room, f->groups_n, sizeof(*groups));

	if (!groups) {
		f->broken = true;
		return;
	}
	f->groups = groups;
	groups[f->groups_n++] = info;
}

static void counters_add(struct engine_counters *sum, const struct engine_counters *more)
{
	for (unsigned i = 0; i < ENGINE_COUNTERS_N; i++) {
		uint64_t a, b;

		memcpy(&a, (const char *)sum + i * sizeof(a), sizeof(a));
		memcpy(&b, (const char *)more + i * sizeof(b), sizeof(b));
		a += b;
		memcpy((char *)sum + i * sizeof(a), &a, sizeof(a));
	}
}

static void take_counts(void *arg)
{
	struct facts *f = arg;
	uint32_t before = f->connections;

	f->more = tcp_foreach(f->w->engine, &f->tcp_at, SLICE, count_tcp, f);
	f->of[f->w->number].connections += f->connections - before;
}

static void take_stat(void *arg)
{
	struct facts *f = arg;
	struct engine *e = f->w->engine;
	struct worker_facts *mine = &f->of[f->w->number];
	uint32_t waits, socks;

	mine->counters = e->counters;
	mine->cpu = f->s->page->worker[f->w->number].cpu;
	counters_add(&f->counters, &e->counters);
	f->rx_held += e->rx_held;
	f->udp_socks += udp_count(e);
	tcp_count(e, &socks, &waits);
	f->tcp_socks += socks;
	user_group_foreach(f->w->user, on_group, f);
}

/* As often on each worker as there is more. */
static void take_all(struct facts *f, void (*take)(void *arg))
{
	for (uint16_t k = 0; k < f->s->workers; k++) {
		f->w = &f->s->worker[k];
		f->tcp_at = 0;
		f->sock_at = (struct user_sock_place){0};
		do {
			f->more = false;
			worker_call(f->w, take, f);
		} while (f->more && !f->broken);
	}
}

/* --- on the control thread --------------------------------------------------------------------- */

/* The names of ss(8). */
static const char *state_name(const struct row *r)
{
	static const char *const names[] = {
		[CV_TCP_ESTABLISHED] = "ESTAB",
		[CV_TCP_SYN_SENT] = "SYN-SENT",
		[CV_TCP_SYN_RECEIVED] = "SYN-RECV",
		[CV_TCP_FIN_WAIT_1] = "FIN-WAIT-1",
		[CV_TCP_FIN_WAIT_2] = "FIN-WAIT-2",
		[CV_TCP_TIME_WAIT] = "TIME-WAIT",
		[CV_TCP_CLOSED] = "UNCONN",
		[CV_TCP_CLOSE_WAIT] = "CLOSE-WAIT",
		[CV_TCP_LAST_ACK] = "LAST-ACK",
		[CV_TCP_LISTEN] = "LISTEN",
		[CV_TCP_CLOSING] = "CLOSING",
	};

	if (r->udp)
		return (r->status & CV_ST_CONNECTED) ? "ESTAB" : "UNCONN";
	return names[r->t.state];
}

static void address_text(const struct cv_endpoint *p, char text[INET6_ADDRSTRLEN])
{
	if (addr_is_v4(p->addr))
		inet_ntop(AF_INET, p->addr + 12, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, p->addr, text, INET6_ADDRSTRLEN);
}

static json_t *row_json(const struct row *r)
{
	static const char *const timers[] = {"on", "ack", "keepalive", "linger", "reorder"};
	char local[INET6_ADDRSTRLEN], peer[INET6_ADDRSTRLEN];
	json_t *o;

	address_text(&r->t.local, local);
	address_text(&r->t.peer, peer);
	if (addr_is_any(r->t.peer.addr)) /* nobody: in the words of the socket's own family */
		strcpy(peer, addr_is_v4(r->t.local.addr) ? "0.0.0.0" : "::");
	o = json_pack("{s:s, s:s, s:I, s:I, s:s, s:i, s:s, s:i, s:i, s:i, s:i}", "proto",
		r->udp ? "udp" : "tcp", "state", state_name(r), "rx_queued",
		(json_int_t)r->t.recvq, "tx_queued", (json_int_t)r->t.sendq, "local", local,
		"local_port", r->t.local.port, "peer", peer, "peer_port", r->t.peer.port, "pid",
		r->pid, "holders", (int)r->holders, "worker", (int)r->worker);
	if (!o || r->udp || r->t.state == CV_TCP_LISTEN || r->t.state == CV_TCP_TIME_WAIT)
		return o;
	if (r->t.timer < TCP_TIMERS)
		json_object_set_new(o, "timer",
			json_pack("{s:s, s:I, s:i}", "name", timers[r->t.timer], "ms",
				(json_int_t)(r->t.timer_ns / 1000000), "retransmits",
				(int)r->t.retrans));
	json_object_set_new(o, "info",
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rtt_us",
			(json_int_t)r->t.srtt_us, "rttvar_us", (json_int_t)r->t.rttvar_us, "cwnd",
			(json_int_t)r->t.cwnd, "ssthresh",
			(json_int_t)(r->t.ssthresh == UINT32_MAX ? 0 : r->t.ssthresh), "mss",
			(json_int_t)r->t.mss, "retransmitted", (json_int_t)r->t.total_retrans,
			"bytes_received", (json_int_t)r->rx_total, "bytes_acked",
			(json_int_t)r->bytes_acked));
	return o;
}

static json_t *rows_json(struct facts *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n; i++)
		json_array_append_new(list, row_json(&f->rows[i]));
	return list;
}

static json_t *counters_json(const struct engine_counters *c)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < ENGINE_COUNTERS_N; i++) {
		uint64_t v;

		memcpy(&v, (const char *)c + i * sizeof(v), sizeof(v));
		json_object_set_new(o, engine_counter_names[i].name, json_integer((json_int_t)v));
	}
	return o;
}

static json_t *group_json(const struct user_group_info *g)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:I, s:I, s:i, s:b}", "pid",
		g->pid, "processes", (int)g->procs, "lanes", (int)g->lanes, "sets", (int)g->sets,
		"sockets", (int)g->socks, "receive_bytes", (json_int_t)g->rx_bytes_used,
		"receive_descriptors", (json_int_t)g->rxds_used, "send_bytes",
		(json_int_t)g->tx_bytes_used, "send_buffers", (int)g->txbufs_used, "violations",
		(json_int_t)g->violations, "refused", (json_int_t)g->refused, "starved",
		(int)g->starved, "closing", (int)g->closing);
}

static json_t *workers_json(const struct facts *f)
{
	json_t *list = json_array();

	for (uint16_t k = 0; k < f->s->workers; k++) {
		const struct worker_facts *w = &f->of[k];

		json_array_append_new(list,
			json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "worker", (int)k, "core", (int)w->cpu,
				"connections", (int)w->connections, "rx_packets",
				(json_int_t)w->counters.rx_packets, "tx_packets",
				(json_int_t)w->counters.tx_packets, "handed_over",
				(json_int_t)w->counters.handed_over, "drop_handover",
				(json_int_t)w->counters.drop_handover));
	}
	return list;
}

static json_t *stat_json(struct facts *f)
{
	const struct service *s = f->s;
	json_t *groups = json_array(), *ports = json_array();
	json_int_t held = f->rx_held, procs = 0;

	for (size_t i = 0; i < f->groups_n; i++) {
		held += f->groups[i].rxds_used + f->groups[i].txbufs_used;
		procs += f->groups[i].procs;
		json_array_append_new(groups, group_json(&f->groups[i]));
	}
	for (uint16_t i = 0; i < s->ports.n; i++)
		json_array_append_new(ports,
			json_pack("{s:s, s:s, s:b, s:i}", "name", s->ports.port[i].stack.name,
				"driver", s->ports.port[i].driver, "up",
				(int)s->ports.port[i].stack.up, "mtu",
				(int)s->ports.port[i].stack.mtu));
	return json_pack("{s:s, s:i, s:i, s:I, s:I, s:{s:i, s:i, s:i, s:i}, s:{s:i},"
			 " s:{s:I, s:I}, s:{s:I, s:I}, s:o, s:o, s:o, s:o}",
		"name", s->config.name, "pid", (int)s->page->pid, "workers", (int)s->page->workers,
		"groups", (json_int_t)f->groups_n, "processes", procs, "tcp", "connections",
		(int)f->connections, "listeners", (int)f->listeners, "time_wait",
		(int)f->time_waits, "sockets", (int)f->tcp_socks, "udp", "sockets",
		(int)f->udp_socks, "buffers", "used", held, "total",
		(json_int_t)s->ports.pool->size, "packets", "used",
		(json_int_t)rte_mempool_in_use_count(s->ports.pool), "total",
		(json_int_t)s->ports.pool->size, "counters", counters_json(&f->counters), "programs",
		groups, "ports", ports, "worker", workers_json(f));
}

static json_t *config_json(const struct service *s)
{
	json_t *limits = json_object(), *tcp = json_object();

#define X(key, min, max, def, text) json_object_set_new(tcp, #key, json_integer(s->config.tcp.key));
#include "stack/core/tcp_config.def"
#undef X
#define X(key, field, min, max, def, unit)                                                         \
	json_object_set_new(limits, #key, json_integer((json_int_t)s->config.limits.field));
#include "dpdk/limits.def"
#undef X
	return json_pack("{s:s, s:s, s:s, s:i, s:b, s:s, s:i, s:b, s:o, s:o}", "file", s->config.path, "name",
		s->config.name, "control", s->config.control, "workers", (int)s->config.workers,
		"hugepages", s->config.hugepages == HUGEPAGES_YES, "idle",
		s->config.idle == IDLE_MODE_POLL ? "poll" : "adaptive", "spin_us",
		(int)s->config.spin_us, "loopback", (int)s->config.loopback, "tcp", tcp, "limits", limits);
}

static char *text_of(json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

char *report_make(struct service *s, const char *what)
{
	struct facts f = {.s = s};
	char *text = NULL;

	if (strcmp(what, "ss") == 0) {
		take_all(&f, take_rows);
		text = f.broken ? NULL : text_of(rows_json(&f));
	} else if (strcmp(what, "stat") == 0) {
		take_all(&f, take_stat);
		take_all(&f, take_counts);
		text = f.broken ? NULL : text_of(stat_json(&f));
	} else if (strcmp(what, "config") == 0) {
		text = text_of(config_json(s));
	} else if (strcmp(what, "version") == 0) {
		text = text_of(json_pack("{s:s, s:i}", "version", CULVERT_VERSION, "api",
			(int)CV_API_VERSION));
	}
	free(f.rows);
	free(f.groups);
	return text;
}
