/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups, both families: what routers are told (IGMP, MLD, their old versions), what is let in, errors as Linux's. */
#include "tests/world/wire.h"

#include "stack/net/mcast.h"

enum { IS_IN = 1, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK };

static const char *const groups[] = {"239.1.2.3", "ff12::1:203"}, *const sources[] = {"10.0.0.7", "2001:db8::7"},
	     *const others[] = {"10.0.0.8", "2001:db8::8"};

static int request(struct world *w, struct mcast_sock **ms, enum cv_option opt, const char *group, const char *source,
	uint32_t ifindex)
{
	struct cv_mreq r = {.ifindex = ifindex};
	uint8_t family = addr_is_v4(at(group, 0).addr) ? CV_AF_INET : CV_AF_INET6;
	int ret;

	memcpy(r.group, at(group, 0).addr, 16);
	if (source != NULL)
		memcpy(r.source, at(source, 0).addr, 16);
	ret = mcast_setopt(w->host[0].e, ms, family, opt, &r, sizeof(r));
	wire_wait(w, 0);
	return ret;
}

/* A frame that speaks of groups: its message, by either family; NULL: none came in time. */
static const uint8_t *message(struct world *w, uint64_t within, bool v6, uint8_t type)
{
	const struct wire_frame *f;

	if (!v6) {
		f = wire_next(w, within, RTE_ETHER_TYPE_IPV4, IPPROTO_IGMP, type);
		if (f == NULL)
			return NULL;
		assert_int_equal(f->f[14], 0x46);
		assert_int_equal(f->f[22], 1);                              /* TTL */
		assert_memory_equal(f->f + 34, "\x94\x04\0\0", 4);          /* router alert */
		assert_int_equal(fold16(sum16(f->f + 14, 24, 0)), 0);
		assert_int_equal(fold16(sum16(f->f + 38, f->len - 38, 0)), 0);
		return f->f + 38;
	}
	/* hop-by-hop header, then ICMPv6 */
	for (;;) {
		f = wire_next(w, within, RTE_ETHER_TYPE_IPV6, IPPROTO_HOPOPTS, -1);
		if (f == NULL)
			return NULL;
		if (f->f[62] == type)
			break;
	}
	assert_int_equal(f->f[21], 1);
	assert_memory_equal(f->f + 54, "\x3a\0\5\2\0\0\1\0", 8);
	assert_int_equal(fold16(sum16(f->f + 22, 32, sum16(f->f + 62, f->len - 62u, f->len - 62u + IPPROTO_ICMPV6))), 0);
	return f->f + 62;
}

/* The record about a group in the next report; NULL: none within the time. */
static const uint8_t *record(struct world *w, uint64_t within, bool v6, const char *group)
{
	const uint8_t *m, *r;
	uint64_t end = w->now_ns + within;
	struct cv_endpoint g = at(group, 0);
	size_t size = v6 ? 16 : 4;

	while ((m = message(w, end > w->now_ns ? end - w->now_ns : 0, v6, v6 ? 143 : 0x22)) != NULL) {
		r = m + 8;
		for (unsigned i = 0; i < m[7]; i++) {
			if (memcmp(r + 4, g.addr + 16 - size, size) == 0)
				return r;
			r += 4 + size * (1u + r[3]);
		}
	}
	return NULL;
}

#define expect_record(w, within, v6, type, n)                                                                \
	do {                                                                                                  \
		const uint8_t *r_ = record(w, within, v6, groups[v6]);                                        \
		assert_non_null(r_);                                                                          \
		assert_int_equal(r_[0], type);                                                                \
		assert_int_equal(r_[3], n);                                                                   \
	} while (0)

/* A query of a router, of IGMP's from `src`; version: 3 and 2 of IGMP are MLD's 2 and 1. group NULL: general. ms: max
 * response time. */
static void query_from(
	struct world *w, bool v6, const char *src, unsigned version, const char *group, const char *source, unsigned ms)
{
	uint8_t msg[64] = {v6 ? 130 : 0x11}, frame[128];
	size_t size = v6 ? 16 : 4, from = v6 ? 8 : 4;
	uint16_t len = (uint16_t)(from + size);

	if (v6)
		put16(msg + 4, ms);
	else
		msg[1] = (uint8_t)(version == 1 ? 0 : ms / 100);
	if (group != NULL)
		memcpy(msg + from, at(group, 0).addr + 16 - size, size);
	if (version == 3) {
		msg[len] = 2;       /* robustness */
		msg[len + 1] = 125; /* seconds */
		msg[len + 3] = source != NULL;
		len = (uint16_t)(len + 4);
		if (source != NULL) {
			memcpy(msg + len, at(source, 0).addr + 16 - size, size);
			len = (uint16_t)(len + size);
		}
	}
	if (v6) {
		put16(msg + 2, l4_sum("fe80::99", "ff02::1", IPPROTO_ICMPV6, msg, len));
		len = frame6(frame, w, 0, "fe80::99", "ff02::1", IPPROTO_ICMPV6, 1, msg, len);
	} else {
		put16(msg + 2, fold16(sum16(msg, len, 0)));
		len = frame4(frame, w, 0, src, "224.0.0.1", IPPROTO_IGMP, 1, 0, msg, len);
	}
	memcpy(frame, (const uint8_t[]){1, 0, 0x5e, 0, 0, 1}, 6);
	world_inject(w, 0, frame, len);
	wire_wait(w, 0);
}

static void query(struct world *w, bool v6, unsigned version, const char *group, const char *source, unsigned ms)
{
	query_from(w, v6, "10.0.0.254", version, group, source, ms);
}

static struct world *mcast_new(uint64_t seed, bool v6)
{
	struct world *w = wire_new(seed, v6);

	wire_wait(w, 5 * SECOND); /* the stack's own groups are told */
	wire_forget(w);
	return w;
}

static void join_and_leave__are_told_twice(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(1, v6);
		struct mcast_sock *ms = NULL, *second = NULL;

		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		expect_record(w, 0, v6, TO_EX, 0);
		expect_record(w, SECOND + 10 * MS, v6, TO_EX, 0);
		assert_null(record(w, 20 * SECOND, v6, groups[v6]));
		/* A second one changes nothing for routers, nor does the first one's end. */
		assert_int_equal(request(w, &second, CV_OPT_MCAST_JOIN, groups[v6], NULL, 1), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, groups[v6], NULL, 0), 0);
		assert_null(record(w, 20 * SECOND, v6, groups[v6]));
		mcast_sock_end(w->host[0].e, &second); /* memberships end with their socket */
		expect_record(w, 0, v6, TO_IN, 0);
		expect_record(w, SECOND + 10 * MS, v6, TO_IN, 0);
		assert_null(record(w, 20 * SECOND, v6, groups[v6]));
		mcast_sock_end(w->host[0].e, &ms);
		world_free(w);
	}
}

static void sources__are_told_as_they_change(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(2, v6);
		struct mcast_sock *ms = NULL, *all = NULL;
		const uint8_t *r;

		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN_SOURCE, groups[v6], sources[v6], 0), 0);
		r = record(w, 0, v6, groups[v6]);
		assert_non_null(r);
		assert_int_equal(r[0], ALLOW);
		assert_int_equal(r[3], 1);
		assert_memory_equal(r + (v6 ? 20 : 8), at(sources[v6], 0).addr + (v6 ? 0 : 12), v6 ? 16 : 4);
		expect_record(w, SECOND + 10 * MS, v6, ALLOW, 1);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN_SOURCE, groups[v6], others[v6], 0), 0);
		expect_record(w, 0, v6, ALLOW, 1);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		/* Another socket wants all but one. */
		assert_int_equal(request(w, &all, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		expect_record(w, 0, v6, TO_EX, 0);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		assert_int_equal(request(w, &all, CV_OPT_MCAST_BLOCK_SOURCE, groups[v6], sources[v6], 0), 0);
		assert_null(record(w, 5 * SECOND, v6, groups[v6])); /* the first one wants it still */
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE_SOURCE, groups[v6], sources[v6], 0), 0);
		expect_record(w, 0, v6, BLOCK, 1);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		assert_int_equal(request(w, &all, CV_OPT_MCAST_UNBLOCK_SOURCE, groups[v6], sources[v6], 0), 0);
		expect_record(w, 0, v6, ALLOW, 1);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		mcast_sock_end(w->host[0].e, &all);
		expect_record(w, 0, v6, TO_IN, 1);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		mcast_sock_end(w->host[0].e, &ms);
		expect_record(w, 0, v6, BLOCK, 1);
		wire_wait(w, 5 * SECOND);
		world_free(w);
	}
}

/* The whole filter at once: n sources from `first` on. */
static int filter_set(struct world *w, struct mcast_sock **ms, bool v6, enum mcast_mode mode, unsigned first, unsigned n)
{
	struct cv_mreq r = {.ifindex = 1, .source = {[CV_MCAST_MODE_AT] = mode, [CV_MCAST_NUMBER_AT] = (uint8_t)n}};
	uint8_t family = v6 ? CV_AF_INET6 : CV_AF_INET;
	char text[32];
	int ret;

	memcpy(r.group, at(groups[v6], 0).addr, 16);
	for (unsigned i = 0; i < n; i++) {
		struct cv_mreq one = {0};

		snprintf(text, sizeof(text), v6 ? "2001:db8::%u" : "10.0.0.%u", first + i);
		memcpy(one.source, at(text, 0).addr, 16);
		assert_int_equal(
			mcast_setopt(w->host[0].e, ms, family, CV_OPT_MCAST_FILTER_SOURCE, &one, sizeof(one)), 0);
	}
	ret = mcast_setopt(w->host[0].e, ms, family, CV_OPT_MCAST_FILTER, &r, sizeof(r));
	wire_wait(w, 0);
	return ret;
}

static void settle(struct world *w)
{
	wire_wait(w, 5 * SECOND);
	wire_forget(w);
}

static void filter__set_whole__is_told_as_what_changes(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(13, v6);
		struct mcast_sock *ms = NULL;
		uint8_t value[1280];
		uint32_t len = sizeof(value);
		struct cv_mreq ask = {.ifindex = 1};
		struct cv_mcast_filter got;

		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_EXCLUDE, 1, 2), -CV_EINVAL); /* no member */
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		settle(w);
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_EXCLUDE, 1, 3), 0);
		expect_record(w, 0, v6, BLOCK, 3);
		settle(w);
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_EXCLUDE, 2, 3), 0); /* one goes, one comes */
		expect_record(w, 0, v6, ALLOW, 1);
		settle(w);
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_INCLUDE, 7, 4), 0);
		expect_record(w, 0, v6, TO_IN, 4);
		settle(w);
		memcpy(ask.group, at(groups[v6], 0).addr, 16);
		memcpy(value, &ask, sizeof(ask));
		assert_int_equal(mcast_getopt(w->host[0].e, ms, v6 ? CV_AF_INET6 : CV_AF_INET, CV_OPT_MCAST_FILTER, value,
					 &len),
			0);
		memcpy(&got, value, sizeof(got));
		assert_int_equal(got.mode, MCAST_MODE_INCLUDE);
		assert_int_equal(got.n, 4);
		assert_int_equal(len, sizeof(got) + 4 * 16);
		assert_memory_equal(value + sizeof(got), at(v6 ? "2001:db8::7" : "10.0.0.7", 0).addr, 16);
		/* Somebody else's sources between ours: nothing is set. */
		assert_int_equal(mcast_setopt(w->host[0].e, &ms, v6 ? CV_AF_INET6 : CV_AF_INET, CV_OPT_MCAST_FILTER_SOURCE,
					 &ask, sizeof(ask)),
			0);
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_INCLUDE, 1, 2), -CV_EINVAL);
		assert_null(record(w, 5 * SECOND, v6, groups[v6]));
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_INCLUDE, 0, 0), 0); /* nobody: it leaves */
		expect_record(w, 0, v6, BLOCK, 4);
		settle(w);
		assert_int_equal(filter_set(w, &ms, v6, MCAST_MODE_INCLUDE, 0, 0), -CV_EADDRNOTAVAIL);
		mcast_sock_end(w->host[0].e, &ms);
		wire_wait(w, 5 * SECOND);
		assert_int_equal(w->host[0].e->net->mcast_members.used, 0);
		world_free(w);
	}
}

/* As many sources as can be, all others than before: two records, which do not fit one message of this link. */
static void filter__all_sources_change__each_record_fits_the_link(void **state)
{
	struct world *w = mcast_new(14, true);
	struct mcast_sock *ms = NULL;
	const uint8_t *r;

	(void)state;
	assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[1], NULL, 0), 0);
	assert_int_equal(filter_set(w, &ms, true, MCAST_MODE_INCLUDE, 100, 64), 0);
	settle(w);
	assert_int_equal(filter_set(w, &ms, true, MCAST_MODE_INCLUDE, 200, 64), 0);
	for (unsigned i = 0; i < 2; i++) {
		r = record(w, 0, true, groups[1]);
		assert_non_null(r);
		assert_int_equal(r[3], 64);
		assert_int_equal(r[0], i == 0 ? BLOCK : ALLOW);
		assert_int_equal((r - 8)[7], 1); /* alone in its message */
	}
	settle(w);
	assert_int_equal(filter_set(w, &ms, true, MCAST_MODE_INCLUDE, 300, 64), 0);
	mcast_sock_end(w->host[0].e, &ms);
	world_free(w);
}

static void query__is_answered_within_its_time(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(3, v6);
		struct mcast_sock *ms = NULL, *some = NULL;

		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		query(w, v6, 3, NULL, NULL, 10000);
		query(w, v6, 3, NULL, NULL, 10000); /* one answer will do */
		expect_record(w, 10 * SECOND + 10 * MS, v6, IS_EX, 0);
		assert_null(record(w, 20 * SECOND, v6, groups[v6]));
		query(w, v6, 3, groups[v6], NULL, 1000);
		expect_record(w, SECOND + 10 * MS, v6, IS_EX, 0);
		query(w, v6, 3, v6 ? "ff12::77" : "239.9.9.9", NULL, 1000);
		assert_null(record(w, 5 * SECOND, v6, groups[v6]));
		query(w, v6, 3, groups[v6], sources[v6], 1000); /* do you want this source? */
		expect_record(w, SECOND + 10 * MS, v6, IS_IN, 1);
		mcast_sock_end(w->host[0].e, &ms);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		assert_int_equal(request(w, &some, CV_OPT_MCAST_JOIN_SOURCE, groups[v6], others[v6], 0), 0);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		query(w, v6, 3, groups[v6], sources[v6], 1000); /* not this one */
		assert_null(record(w, 5 * SECOND, v6, groups[v6]));
		query(w, v6, 3, groups[v6], NULL, 1000);
		expect_record(w, SECOND + 10 * MS, v6, IS_IN, 1);
		mcast_sock_end(w->host[0].e, &some);
		world_free(w);
	}
}

/* However large the link's frames are, a report is what a packet buffer holds. */
static void query__many_sources_and_a_large_mtu__all_is_told(void **state)
{
	static const char *const many[] = {"ff12::1:203", "ff12::1:204"};
	struct world *w = mcast_new(20, true);
	struct mcast_sock *ms = NULL;
	char text[32];

	(void)state;
	w->host[0].port.mtu = 9000;
	for (unsigned i = 0; i < 128; i++) {
		snprintf(text, sizeof(text), "2001:db8::1:%x", i);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN_SOURCE, many[i % 2], text, 1), 0);
	}
	wire_wait(w, 5 * SECOND);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *r;

		wire_forget(w);
		query(w, true, 3, NULL, NULL, 1000);
		r = record(w, SECOND + 10 * MS, true, many[i]);
		assert_non_null(r);
		assert_int_equal(r[0], IS_IN);
		assert_int_equal(r[3], 64);
		wire_wait(w, 5 * SECOND);
	}
	mcast_sock_end(w->host[0].e, &ms);
	world_free(w);
}

/* A switch that has no address of its own asks all the same, and passes on only what it got answers for. */
static void query__from_0_0_0_0__is_answered(void **state)
{
	struct world *w = mcast_new(13, false);
	struct mcast_sock *ms = NULL;
	uint8_t frame[128], udp[16];
	uint16_t n;

	(void)state;
	assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[0], NULL, 0), 0);
	wire_wait(w, 5 * SECOND);
	wire_forget(w);
	query_from(w, false, "0.0.0.0", 3, NULL, NULL, 1000);
	expect_record(w, SECOND + 10 * MS, false, IS_EX, 0);
	/* Nothing else comes from nobody. */
	n = udp_bytes(udp, "0.0.0.0", 9, groups[0], 9, "x", 1);
	world_inject(w, 0, frame, frame4(frame, w, 0, "0.0.0.0", groups[0], IPPROTO_UDP, 1, 0, udp, n));
	wire_wait(w, 0);
	assert_int_equal(COUNT(w, 0, drop_ip_source), 1);
	mcast_sock_end(w->host[0].e, &ms);
	world_free(w);
}

/* Somebody has left, and the router wants to know within a second whether he was the last: the answer to a general
 * query that was asked before may come too late. */
static void query__of_a_group__does_not_wait_for_the_general_answer(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(18, v6);
		struct mcast_sock *ms = NULL;
		const struct timer *general = &w->host[0].e->net->ifaces[0].mcast[v6].answer;

		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		query(w, v6, 3, NULL, NULL, 12700);
		assert_true(general->expires > (w->now_ns + 2 * SECOND) >> WHEEL_TICK_SHIFT); /* by the seed */
		query(w, v6, 3, groups[v6], NULL, 1000);
		expect_record(w, SECOND + 10 * MS, v6, IS_EX, 0);
		expect_record(w, 12 * SECOND, v6, IS_EX, 0);
		/* One that comes soon enough is enough. */
		query(w, v6, 3, NULL, NULL, 1000);
		query(w, v6, 3, groups[v6], NULL, 1000);
		expect_record(w, SECOND + 10 * MS, v6, IS_EX, 0);
		assert_null(record(w, 5 * SECOND, v6, groups[v6]));
		mcast_sock_end(w->host[0].e, &ms);
		world_free(w);
	}
}

/* Reports from :: are for switches: no router heeds them (RFC3810:5.2.13). */
static void link_local__found_to_be_ours__groups_are_told_from_it(void **state)
{
	struct world *w = mcast_new(15, true);
	struct port *port = &w->host[0].port;
	struct mcast_sock *ms = NULL;
	const uint8_t *m;

	(void)state;
	assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, "ff15::77", NULL, 1), 0);
	port->dad6 = true;
	net_port_down(w->host[0].e, port);
	wire_forget(w);
	net_port_up(w->host[0].e, port);
	do {
		m = record(w, 5 * SECOND, true, "ff15::77");
		assert_non_null(m);
		m = wire_frames[(wire_head - 1) % WIRE_FRAMES].f;
	} while (memcmp(m + 22, at("::", 0).addr, 16) == 0);
	assert_memory_equal(m + 22, at(LL0, 0).addr, 16);
	assert_non_null(record(w, SECOND + 10 * MS, true, "ff15::77"));
	assert_null(record(w, 20 * SECOND, true, "ff15::77"));
	mcast_sock_end(w->host[0].e, &ms);
	world_free(w);
}

static void old_querier__is_answered_in_its_words(void **state)
{
	static const uint8_t report[] = {0x16, 131}, leave[] = {0x17, 132};

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(4, v6);
		struct mcast_sock *ms = NULL;
		uint8_t msg[24] = {report[v6]}, frame[128];
		uint16_t n;

		query(w, v6, 2, NULL, NULL, 1000);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		assert_non_null(message(w, 0, v6, report[v6]));
		wire_wait(w, 5 * SECOND);
		wire_forget(w);
		query(w, v6, 2, groups[v6], NULL, 1000);
		assert_non_null(message(w, SECOND + 10 * MS, v6, report[v6]));
		/* Somebody else is quicker, and so is the last who spoke: then it leaves in silence. */
		query(w, v6, 2, groups[v6], NULL, 10000);
		if (v6) {
			memcpy(msg + 8, at(groups[1], 0).addr, 16);
			put16(msg + 2, l4_sum("fe80::98", groups[1], IPPROTO_ICMPV6, msg, 24));
			n = frame6(frame, w, 0, "fe80::98", groups[1], IPPROTO_ICMPV6, 1, msg, 24);
		} else {
			memcpy(msg + 4, at(groups[0], 0).addr + 12, 4);
			put16(msg + 2, fold16(sum16(msg, 8, 0)));
			n = frame4(frame, w, 0, "10.0.0.98", groups[0], IPPROTO_IGMP, 1, 0, msg, 8);
		}
		memcpy(frame, (const uint8_t[]){1, 0, 0x5e, 1, 2, 3}, 6);
		world_inject(w, 0, frame, n);
		assert_null(message(w, 20 * SECOND, v6, report[v6]));
		mcast_sock_end(w->host[0].e, &ms);
		assert_null(message(w, 5 * SECOND, v6, leave[v6]));
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		assert_non_null(message(w, 0, v6, report[v6]));
		mcast_sock_end(w->host[0].e, &ms);
		assert_non_null(message(w, 0, v6, leave[v6]));
		/* Two intervals and an answer's time later the new words are back. */
		wire_wait(w, 262 * SECOND);
		wire_forget(w);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		expect_record(w, 0, v6, TO_EX, 0);
		mcast_sock_end(w->host[0].e, &ms);
		world_free(w);
	}
}

static void oldest_querier__hears_no_leave(void **state)
{
	struct world *w = mcast_new(5, false);
	struct mcast_sock *ms = NULL;

	(void)state;
	query(w, false, 1, NULL, NULL, 0);
	assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[0], NULL, 0), 0);
	assert_non_null(message(w, 0, false, 0x12));
	mcast_sock_end(w->host[0].e, &ms);
	assert_null(message(w, 5 * SECOND, false, 0x17));
	world_free(w);
}

static void own_addresses__their_groups_are_told_and_left(void **state)
{
	struct world *w = wire_new(6, true);
	struct port *port = &w->host[0].port;

	(void)state;
	net_port_down(w->host[0].e, port);
	wire_forget(w);
	net_port_up(w->host[0].e, port);
	assert_non_null(record(w, 0, true, "ff02::1:ff00:1"));
	wire_wait(w, 5 * SECOND);
	wire_forget(w);
	port->addrs_n = 1; /* only IPv4 is left */
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	assert_non_null(record(w, 0, true, "ff02::1:ff00:1"));
	world_free(w);
}

/* A datagram of source to group at port 9, as it comes by the wire. */
static void datagram(struct world *w, bool v6, const char *source, const char *group)
{
	uint8_t udp[64], frame[128];
	uint16_t n = udp_bytes(udp, source, 5, group, 9, "hello", 5);

	n = v6 ? frame6(frame, w, 0, source, group, IPPROTO_UDP, 1, udp, n)
	       : frame4(frame, w, 0, source, group, IPPROTO_UDP, 1, 0, udp, n);
	memcpy(frame, (const uint8_t[]){1, 0, 0x5e, 1, 2, 3}, 6);
	world_inject(w, 0, frame, n);
	wire_wait(w, 0);
}

static void datagram__to_a_group__comes_in_for_members_only(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(7, v6);
		struct sock *sk = udp_at(w, 0, v6 ? "::" : "0.0.0.0", 9);
		struct mcast_sock *ms = NULL;
		uint64_t dropped;

		dropped = COUNT(w, 0, drop_not_for_us);
		datagram(w, v6, sources[v6], groups[v6]);
		assert_int_equal(sk->rxq.n, 0);
		assert_int_equal(COUNT(w, 0, drop_not_for_us), dropped + 1);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		datagram(w, v6, sources[v6], groups[v6]);
		assert_int_equal(sk->rxq.n, 1);
		mcast_sock_end(w->host[0].e, &ms);
		datagram(w, v6, sources[v6], groups[v6]);
		assert_int_equal(sk->rxq.n, 1);
		assert_int_equal(COUNT(w, 0, icmp_errors_out), 0);
		sock_close(sk, false);
		world_free(w);
	}
}

/* Of many groups on several ports each is found, and is gone when it was left. */
static void groups__many_on_two_ports__each_is_found(void **state)
{
	struct world *w = mcast_new(21, true);
	struct port *port = &w->host[0].port, vlan = {.name = "vlan", .id = 7, .vlan = 5, .mtu = 1500};
	struct mcast_sock *ms = NULL;
	char text[32];

	(void)state;
	assert_int_equal(net_vlan_add(w->host[0].e, port, &vlan), 0);
	for (unsigned i = 0; i < 1500; i++) {
		snprintf(text, sizeof(text), "ff15::%x", i + 1);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, text, NULL, i % 2 ? vlan.ifindex : 1), 0);
	}
	for (unsigned i = 0; i < 1500; i++) {
		snprintf(text, sizeof(text), "ff15::%x", i + 1);
		assert_int_equal(mcast_is_member(port, at(text, 0).addr), i % 2 == 0);
		assert_int_equal(mcast_is_member(&vlan, at(text, 0).addr), i % 2 == 1);
		if (i % 3 == 0) {
			assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, text, NULL, 0), 0);
			assert_false(
				mcast_is_member(port, at(text, 0).addr) || mcast_is_member(&vlan, at(text, 0).addr));
		}
	}
	mcast_sock_end(w->host[0].e, &ms);
	wire_wait(w, 5 * SECOND);
	assert_false(mcast_is_member(port, at("ff15::3", 0).addr));
	world_free(w);
}

static void wants__is_asked_by_port_group_and_source(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(8, v6);
		struct mcast_sock *ms = NULL;
		uint8_t group[16], source[16], other[16];
		int no = 0;
		enum cv_option all = v6 ? CV_OPT_MULTICAST_ALL6 : CV_OPT_MULTICAST_ALL;

		memcpy(group, at(groups[v6], 0).addr, 16);
		if (v6)
			addr_scope_set(group, 1); /* ff12: of the link */
		memcpy(source, at(sources[v6], 0).addr, 16);
		memcpy(other, at(others[v6], 0).addr, 16);
		assert_true(mcast_wants(NULL, 0, group, source));
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN_SOURCE, groups[v6], sources[v6], 0), 0);
		assert_true(mcast_wants(ms, 0, group, source));
		assert_false(mcast_wants(ms, 0, group, other));
		assert_true(mcast_wants(ms, 1, group, other)); /* of another port: IP_MULTICAST_ALL */
		assert_int_equal(mcast_setopt(w->host[0].e, &ms, v6 ? CV_AF_INET6 : CV_AF_INET, all, &no, sizeof(no)), 0);
		assert_false(mcast_wants(ms, 1, group, other));
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, groups[v6], NULL, 0), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, groups[v6], sources[v6], 0), 0);
		assert_false(mcast_wants(ms, 0, group, source));
		assert_true(mcast_wants(ms, 0, group, other));
		mcast_sock_end(w->host[0].e, &ms);
		world_free(w);
	}
}

static void requests__fail_as_on_linux(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(9, v6);
		struct mcast_sock *ms = NULL;
		const char *g = groups[v6], *s = sources[v6];
		char text[32];

		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, s, NULL, 0), -CV_EINVAL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, g, NULL, 99), -CV_ENODEV);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, g, NULL, 0), -CV_EADDRNOTAVAIL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, g, s, 0), -CV_EINVAL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, g, NULL, 0), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, g, NULL, 1), -CV_EADDRINUSE);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, g, s, 0), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, g, s, 0), -CV_EADDRNOTAVAIL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN_SOURCE, g, s, 0), -CV_EINVAL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_UNBLOCK_SOURCE, g, others[v6], 0), -CV_EADDRNOTAVAIL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_UNBLOCK_SOURCE, g, s, 0), 0);
		for (unsigned i = 0; i < (v6 ? 64 : 10); i++) { /* mld_max_msf, igmp_max_msf */
			snprintf(text, sizeof(text), v6 ? "2001:db8::%u" : "10.0.0.%u", 20 + i);
			assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, g, text, 0), 0);
		}
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_BLOCK_SOURCE, g, s, 0), -CV_ENOBUFS);
		for (unsigned i = 0; i < 19; i++) {
			snprintf(text, sizeof(text), v6 ? "ff12::%u" : "239.0.0.%u", 1 + i);
			assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, text, NULL, 0), 0);
		}
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, v6 ? "ff12::99" : "239.0.0.99", NULL, 0),
			v6 ? 0 : -CV_ENOBUFS); /* igmp_max_memberships */
		mcast_sock_end(w->host[0].e, &ms);
		wire_wait(w, 5 * SECOND);
		assert_int_equal(w->host[0].e->net->mcast_groups.used, v6); /* its own addresses' */
		world_free(w);
	}
}

static void settings__are_kept_and_checked(void **state)
{
	struct world *w = mcast_new(10, true);
	struct engine *e = w->host[0].e;
	struct mcast_sock *ms = NULL;
	static const struct {
		enum cv_option opt;
		int value, ret, before;
	} table[] = {{CV_OPT_MULTICAST_TTL, 300, -CV_EINVAL, 1}, {CV_OPT_MULTICAST_TTL, 5, 0, 1},
		{CV_OPT_MULTICAST_TTL, -1, 0, 5}, {CV_OPT_MULTICAST_LOOP, 0, 0, 1}, {CV_OPT_MULTICAST_LOOP, 7, 0, 0},
		{CV_OPT_MULTICAST_ALL, 2, -CV_EINVAL, 1}, {CV_OPT_MULTICAST_ALL, 0, 0, 1},
		{CV_OPT_MULTICAST_HOPS, 256, -CV_EINVAL, 1}, {CV_OPT_MULTICAST_HOPS, 9, 0, 1},
		{CV_OPT_MULTICAST_LOOP6, 2, -CV_EINVAL, 1}, {CV_OPT_MULTICAST_LOOP6, 0, 0, 1},
		{CV_OPT_MULTICAST_IF6, 99, -CV_ENODEV, 0}, {CV_OPT_MULTICAST_IF6, 1, 0, 0},
		{CV_OPT_MULTICAST_IF, 99, -CV_EADDRNOTAVAIL, 0}, {CV_OPT_MULTICAST_IF, 1, 0, 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int v = -2;
		uint32_t len = sizeof(v);

		assert_int_equal(mcast_getopt(e, ms, CV_AF_INET6, table[i].opt, &v, &len), 0);
		assert_int_equal(v, table[i].before);
		v = table[i].value;
		assert_int_equal(mcast_setopt(e, &ms, CV_AF_INET6, table[i].opt, &v, sizeof(v)), table[i].ret);
	}
	assert_int_equal(mcast_out(ms, true).ttl, 1);
	assert_int_equal(mcast_out(ms, true).ifindex, 1);
	assert_int_equal(mcast_out(ms, false).ttl, 9);
	assert_false(mcast_out(ms, false).loop);
	assert_true(mcast_out(NULL, true).loop);
	mcast_sock_end(e, &ms);
	world_free(w);
}

static void datagram__to_our_own_group__comes_round_and_goes_out(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(11, v6);
		struct sock *sk = udp_at(w, 0, v6 ? "::" : "0.0.0.0", 9);
		struct mcast_sock *ms = NULL;
		char got[8];

		send_at(sk, groups[v6], 9, "one", 3);
		wire_wait(w, MS);
		assert_int_equal(sk->rxq.n, 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, 0), 0);
		wire_forget(w);
		send_at(sk, groups[v6], 9, "two", 3);
		wire_wait(w, MS);
		assert_int_equal(sk->rxq.n, 1);
		assert_int_equal(pkt_of(sk->rxq.head)->port, 0); /* by the port, not from ourselves */
		assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 3);
		assert_memory_equal(got, "two", 3);
		assert_non_null(v6 ? wire_udp6(w, 0) : wire_udp4(w, 0));
		mcast_sock_end(w->host[0].e, &ms);
		sock_close(sk, false);
		world_free(w);
	}
}

/* With TTL 0, and to a group of the interface itself, a datagram does not leave the host; its members get it. */
static void datagram__with_ttl_0__stays_here(void **state)
{
	static const struct {
		const char *group;
		int ttl;
		bool leaves;
	} table[] = {{"239.1.2.3", 0, false}, {"239.1.2.3", 1, true}, {"ff15::77", 0, false}, {"ff15::77", 1, true},
		{"ff11::77", 1, false}, {"224.0.0.1", 0, false}};

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		bool v6 = !addr_is_v4(at(table[i].group, 0).addr), all = i == 5; /* joined by every host */
		struct world *w = mcast_new(16, true);
		struct sock *sk = udp_at(w, 0, v6 ? "::" : "0.0.0.0", 9);
		struct mcast_sock *ms = NULL;

		if (!all)
			assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, table[i].group, NULL, 1), 0);
		assert_int_equal(
			sock_setopt(sk, v6 ? CV_OPT_MULTICAST_HOPS : CV_OPT_MULTICAST_TTL, &table[i].ttl, 4), 0);
		wire_forget(w);
		send_at(sk, table[i].group, 9, "x", 1);
		wire_wait(w, MS);
		assert_int_equal(sk->rxq.n, 1);
		assert_int_equal((v6 ? wire_udp6(w, 0) : wire_udp4(w, 0)) != NULL, table[i].leaves);
		mcast_sock_end(w->host[0].e, &ms);
		sock_close(sk, false);
		world_free(w);
	}
}

/* Without an interface any membership of the group is meant, wherever packets to the group would go now. */
static void leave__without_an_interface__finds_it(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = mcast_new(17, v6);
		struct port vlan = {.name = "vlan", .id = 7, .vlan = 5, .mtu = 1500};
		struct mcast_sock *ms = NULL;

		assert_int_equal(net_vlan_add(w->host[0].e, &w->host[0].port, &vlan), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, groups[v6], NULL, vlan.ifindex), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, groups[v6], NULL, 1), -CV_EADDRNOTAVAIL);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, groups[v6], NULL, 0), 0);
		assert_int_equal(request(w, &ms, CV_OPT_MCAST_LEAVE, groups[v6], NULL, 0), -CV_EADDRNOTAVAIL);
		mcast_sock_end(w->host[0].e, &ms);
		world_free(w);
	}
}

/* Bound to a group or a broadcast address, a socket gets what is sent there; it sends from an address of ours. */
static void bound_to_many__sends_from_our_address(void **state)
{
	static const char *const table[][3] = {{"239.1.2.3", "10.0.0.9", "10.0.0.1"},
		{"239.1.2.3", "239.1.2.3", "10.0.0.1"}, {"10.0.0.255", "10.0.0.9", "10.0.0.1"},
		{"ff15::77", "2001:db8::9", "2001:db8::1"}, {"ff15::77", "ff15::77", "2001:db8::1"}};

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		bool v6 = !addr_is_v4(at(table[i][0], 0).addr);
		struct world *w = mcast_new(19, true);
		struct sock *sk = udp_at(w, 0, table[i][0], 9);
		struct cv_endpoint to = at(table[i][1], 9);
		const struct wire_frame *f;

		arp(w, wire_mac, 1, "10.0.0.9", "10.0.0.1");
		nd_from(w, "2001:db8::9", "2001:db8::1", 135, 0, "2001:db8::1", wire_mac);
		wire_forget(w);
		for (unsigned connected = 0; connected < 2; connected++) {
			if (connected)
				assert_int_equal(sock_connect(sk, &to), 0);
			for (unsigned k = 0; k < 2; k++) {
				assert_int_equal(try_send(sk, connected ? NULL : &to, "x", 1), 0);
				f = v6 ? wire_udp6(w, 0) : wire_udp4(w, 0);
				assert_non_null(f);
				assert_memory_equal(
					f->f + (v6 ? 22 : 26), at(table[i][2], 0).addr + (v6 ? 0 : 12), v6 ? 16 : 4);
			}
		}
		assert_memory_equal(sk->local.addr, at(table[i][0], 0).addr, 16);
		sock_close(sk, false);
		world_free(w);
	}
}

/* A group of the link is one with its interface only: without, nothing would ever come (EINVAL on Linux); the device
 * that the socket is bound to says which. */
static void bound_to_a_group_of_the_link__needs_its_interface(void **state)
{
	struct world *w = mcast_new(22, true);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6), *to = udp_at(w, 0, "::", 5);
	struct cv_endpoint ep = at("ff02::77", 9);
	struct mcast_sock *ms = NULL;
	const char *name = w->host[0].port.name;

	(void)state;
	assert_int_equal(sock_bind(sk, &ep), -CV_EINVAL);
	assert_int_equal(sock_setopt(sk, CV_OPT_BINDTODEVICE, name, (uint32_t)strlen(name)), 0);
	assert_int_equal(sock_bind(sk, &ep), 0);
	assert_int_equal(request(w, &ms, CV_OPT_MCAST_JOIN, "ff02::77", NULL, 1), 0);
	send_at(to, "ff02::77", 9, "x", 1);
	wire_wait(w, MS);
	assert_int_equal(sk->rxq.n, 1);
	sock_close(sk, false);
	sk = udp_new(w, 0, CV_AF_INET6);
	ep.scope = 1;
	assert_int_equal(sock_bind(sk, &ep), 0);
	send_at(to, "ff02::77", 9, "x", 1);
	wire_wait(w, MS);
	assert_int_equal(sk->rxq.n, 1);
	sock_close(sk, false);
	sock_close(to, false);
	mcast_sock_end(w->host[0].e, &ms);
	world_free(w);
}

static void nonsense__is_dropped_and_counted(void **state)
{
	struct world *w = mcast_new(12, true);
	uint8_t msg[40] = {0x11, 10}, frame[128];

	(void)state;
	put16(msg + 2, fold16(sum16(msg, 8, 0)) + 1); /* a wrong sum */
	world_inject(w, 0, frame, frame4(frame, w, 0, "10.0.0.254", "224.0.0.1", IPPROTO_IGMP, 1, 0, msg, 8));
	put16(msg + 2, 0);
	put16(msg + 2, fold16(sum16(msg, 10, 0))); /* of no version's length */
	world_inject(w, 0, frame, frame4(frame, w, 0, "10.0.0.254", "224.0.0.1", IPPROTO_IGMP, 1, 0, msg, 10));
	msg[11] = 9; /* more sources than there are bytes */
	put16(msg + 2, 0);
	put16(msg + 2, fold16(sum16(msg, 16, 0)));
	world_inject(w, 0, frame, frame4(frame, w, 0, "10.0.0.254", "224.0.0.1", IPPROTO_IGMP, 1, 0, msg, 16));
	memset(msg, 0, sizeof(msg));
	msg[0] = 130;
	put16(msg + 2, l4_sum("2001:db8::9", "ff02::1", IPPROTO_ICMPV6, msg, 24)); /* not from the link */
	world_inject(w, 0, frame, frame6(frame, w, 0, "2001:db8::9", "ff02::1", IPPROTO_ICMPV6, 1, msg, 24));
	put16(msg + 2, 0);
	put16(msg + 2, l4_sum("fe80::9", "ff02::1", IPPROTO_ICMPV6, msg, 24)); /* from afar */
	world_inject(w, 0, frame, frame6(frame, w, 0, "fe80::9", "ff02::1", IPPROTO_ICMPV6, 2, msg, 24));
	wire_wait(w, 0);
	assert_int_equal(COUNT(w, 0, drop_mcast), 5);
	assert_int_equal(w->host[0].e->net->ifaces[0].mcast[0].old_until_ns[0], 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(join_and_leave__are_told_twice),
		cmocka_unit_test(sources__are_told_as_they_change),
		cmocka_unit_test(filter__set_whole__is_told_as_what_changes),
		cmocka_unit_test(filter__all_sources_change__each_record_fits_the_link),
		cmocka_unit_test(query__is_answered_within_its_time),
		cmocka_unit_test(query__many_sources_and_a_large_mtu__all_is_told),
		cmocka_unit_test(query__from_0_0_0_0__is_answered),
		cmocka_unit_test(query__of_a_group__does_not_wait_for_the_general_answer),
		cmocka_unit_test(link_local__found_to_be_ours__groups_are_told_from_it),
		cmocka_unit_test(old_querier__is_answered_in_its_words),
		cmocka_unit_test(oldest_querier__hears_no_leave),
		cmocka_unit_test(own_addresses__their_groups_are_told_and_left),
		cmocka_unit_test(datagram__to_a_group__comes_in_for_members_only),
		cmocka_unit_test(groups__many_on_two_ports__each_is_found),
		cmocka_unit_test(wants__is_asked_by_port_group_and_source),
		cmocka_unit_test(requests__fail_as_on_linux),
		cmocka_unit_test(settings__are_kept_and_checked),
		cmocka_unit_test(datagram__to_our_own_group__comes_round_and_goes_out),
		cmocka_unit_test(datagram__with_ttl_0__stays_here),
		cmocka_unit_test(leave__without_an_interface__finds_it),
		cmocka_unit_test(bound_to_many__sends_from_our_address),
		cmocka_unit_test(bound_to_a_group_of_the_link__needs_its_interface),
		cmocka_unit_test(nonsense__is_dropped_and_counted),
	};

	world_eal_init("world-net-mcast");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
