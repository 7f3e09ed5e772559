/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting fragments together (RFC791:3.2, RFC8200:4.5), both families. Bounded in datagrams, in
 * fragments of one and in packet buffers, of all and of each source, so that one that only begins datagrams costs
 * nobody else his; the oldest goes first. Overlapping fragments end
 * their datagram and what still comes of it (RFC5722; for IPv4 as Linux does since FragmentSmack);
 * an exact repetition is ignored. A fragment that is the whole datagram has nothing to do with others (RFC6946).
 *
 * Invariant: a datagram's fragments are linked by offset, and no two overlap.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define REASS_MAX 256u
#define REASS_FRAGS_MAX 256u
#define REASS_SOURCE_MAX 64u    /* datagrams of one source, */
#define REASS_SOURCE_SHARE 2u   /* and its part of the buffers */
#define REASS_NS_V4 30000000000ull
#define REASS_NS_V6 60000000000ull

struct reass {
	struct list hash_node, age_node;
	struct timer timer;
	uint8_t src[16], dst[16];
	uint32_t id;
	uint16_t port;
	uint8_t proto;  /* IPv4's only: IPv6 tells datagrams apart by the id alone */
	bool dead;      /* overlapped: swallows the rest */
	uint8_t ce;     /* one of them met congestion (RFC3168:5.3) */
	uint8_t source; /* in net.reass_of */
	uint32_t total; /* bytes, 0: the last fragment is not here yet */
	uint32_t have, frags, mbufs;
	struct rte_mbuf *head, *tail; /* by pkt.next, ascending; pkt.seq is the offset */
};

static uint32_t end_of(const struct rte_mbuf *m)
{
	return pkt_of((struct rte_mbuf *)(uintptr_t)m)->seq + rte_pktmbuf_pkt_len(m);
}

static struct list *bucket(struct net *net, const struct pkt *p, uint32_t id)
{
	uint32_t h = id * 0x9e3779b1u ^ p->src.addr[15] ^ (uint32_t)p->src.addr[14] << 3;

	return &net->reass_buckets[(h >> 16) % REASS_BUCKETS];
}

static void buffers_count(struct engine *e, struct reass *r, uint32_t n)
{
	r->mbufs += n;
	e->net->reass_mbufs += n;
	e->net->reass_of[r->source].mbufs += n;
}

static void buffers_forget(struct engine *e, struct reass *r)
{
	e->net->reass_mbufs -= r->mbufs;
	e->net->reass_of[r->source].mbufs -= r->mbufs;
	r->mbufs = 0;
}

static void buffers_free(struct engine *e, struct reass *r)
{
	for (struct rte_mbuf *m = r->head, *next; m != NULL; m = next) {
		next = pkt_of(m)->next;
		rte_pktmbuf_free(m);
	}
	buffers_forget(e, r);
	r->head = r->tail = NULL;
}

static void reass_free(struct engine *e, struct reass *r)
{
	buffers_free(e, r);
	e->net->reass_of[r->source].datagrams--;
	list_del(&r->hash_node);
	list_del(&r->age_node);
	timer_del(&e->wheel, &r->timer);
	pool_put(&e->net->reass, r);
}

/* The sender is told when the beginning was there (RFC1122:3.3.2, RFC8200:4.5). */
static void reass_timer(struct engine *e, struct timer *t)
{
	struct reass *r = cv_container_of(t, struct reass, timer);

	e->counters.reass_timeouts += !r->dead;
	if (r->head != NULL && pkt_of(r->head)->seq == 0)
		icmp_error_send(e, r->head, false,
			addr_is_v4(r->src) ? ICMP_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED, 1, 0);
	reass_free(e, r);
}

static void evict_oldest(struct engine *e)
{
	e->counters.reass_evicted++;
	reass_free(e, list_entry(list_first(&e->net->reass_age), struct reass, age_node));
}

/* Which of the counts is this source's; several may share one. */
static uint8_t source_slot(const struct net *net, const uint8_t src[16])
{
	uint64_t words[2];

	memcpy(words, src, 16);
	return (uint8_t)(siphash13(&net->frag_key, words, 2, 1) % REASS_SOURCES);
}

static void evict_oldest_of(struct engine *e, uint8_t source)
{
	list_for_each (node, &e->net->reass_age) {
		struct reass *r = list_entry(node, struct reass, age_node);

		if (r->source != source)
			continue;
		e->counters.reass_evicted++;
		reass_free(e, r);
		return;
	}
}

static struct reass *reass_get(struct engine *e, const struct pkt *p, uint32_t id)
{
	struct net *net = e->net;
	struct list *b = bucket(net, p, id);
	bool v4 = addr_is_v4(p->src.addr);
	uint8_t proto = v4 ? p->proto : 0;
	uint8_t source = source_slot(net, p->src.addr);
	struct reass *r;

	list_for_each (node, b) {
		r = list_entry(node, struct reass, hash_node);
		if (r->id == id && r->proto == proto && r->port == p->port &&
			addr_equal(r->src, p->src.addr) && addr_equal(r->dst, p->dst.addr))
			return r;
	}
	if (net->reass_of[source].datagrams == REASS_SOURCE_MAX)
		evict_oldest_of(e, source);
	if (net->reass.used == REASS_MAX)
		evict_oldest(e);
	r = pool_get(&net->reass);
	memset(r, 0, sizeof(*r));
	memcpy(r->src, p->src.addr, 16);
	memcpy(r->dst, p->dst.addr, 16);
	r->id = id;
	r->proto = proto;
	r->port = p->port;
	r->source = source;
	net->reass_of[source].datagrams++;
	list_add_head(b, &r->hash_node);
	list_add_tail(&net->reass_age, &r->age_node);
	timer_init(&r->timer, reass_timer);
	timer_set(&e->wheel, &r->timer, e->now_ns + (v4 ? REASS_NS_V4 : REASS_NS_V6));
	return r;
}

enum place { PLACE_OK, PLACE_AGAIN, PLACE_OVERLAP };

/* Where m goes: *before is the fragment in front of it, NULL for none. */
static enum place place_find(struct reass *r, uint32_t off, uint32_t end, struct rte_mbuf **before)
{
	struct rte_mbuf *prev = NULL, *next = r->head;

	if (r->tail != NULL && off >= end_of(r->tail)) { /* as they come, nearly always */
		prev = r->tail;
		next = NULL;
	}
	while (next != NULL && pkt_of(next)->seq < off) {
		prev = next;
		next = pkt_of(next)->next;
	}
	*before = prev;
	if (next != NULL && pkt_of(next)->seq == off && end_of(next) == end)
		return PLACE_AGAIN;
	if ((prev != NULL && end_of(prev) > off) || (next != NULL && end > pkt_of(next)->seq))
		return PLACE_OVERLAP;
	return PLACE_OK;
}

static void insert(struct engine *e, struct reass *r, struct rte_mbuf *m, struct rte_mbuf *before)
{
	struct pkt *p = pkt_of(m);

	if (before != NULL) {
		p->next = pkt_of(before)->next;
		pkt_of(before)->next = m;
	} else {
		p->next = r->head;
		r->head = m;
	}
	if (p->next == NULL)
		r->tail = m;
	r->have += rte_pktmbuf_pkt_len(m);
	r->frags++;
	buffers_count(e, r, m->nb_segs);
	r->ce |= (p->tos & 3) == 3;
}

/* All is there: one chain. */
static struct rte_mbuf *join(struct engine *e, struct reass *r)
{
	struct rte_mbuf *first = r->head, *last = rte_pktmbuf_lastseg(first);

	for (struct rte_mbuf *m = pkt_of(first)->next, *next; m != NULL; m = next) {
		next = pkt_of(m)->next;
		last->next = m;
		first->nb_segs = (uint16_t)(first->nb_segs + m->nb_segs);
		first->pkt_len += m->pkt_len;
		last = rte_pktmbuf_lastseg(m);
	}
	if (r->ce)
		pkt_of(first)->tos |= 3;
	first->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK; /* that verdict was about a piece */
	buffers_forget(e, r);
	r->head = NULL;
	reass_free(e, r);
	e->counters.reass_done++;
	return first;
}

static struct rte_mbuf *refuse(struct engine *e, struct rte_mbuf *m)
{
	e->counters.drop_ip_fragment++;
	rte_pktmbuf_free(m);
	return NULL;
}

/* The datagram is over; what comes of it later is swallowed until its time is up. */
static struct rte_mbuf *condemn(struct engine *e, struct reass *r, struct rte_mbuf *m)
{
	e->counters.reass_overlaps++;
	r->dead = true;
	buffers_free(e, r);
	return refuse(e, m);
}

struct rte_mbuf *reass_input(struct engine *e, struct rte_mbuf *m, const struct frag_id *f)
{
	struct net *net = e->net;
	struct pkt *p = pkt_of(m);
	uint32_t len = rte_pktmbuf_pkt_len(m), end = f->off + len;
	uint32_t max = addr_is_v4(p->src.addr) ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6;
	uint8_t source = source_slot(net, p->src.addr);
	struct rte_mbuf *before;
	struct reass *r;

	if (f->off == 0 && !f->more) { /* RFC6946:4 */
		m->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
		p->seq = 0;
		return m;
	}
	if (len == 0 || (f->more && len % 8 != 0) || end > max)
		return refuse(e, m);
	while (net->reass_of[source].mbufs + m->nb_segs > net->reass_mbufs_max / REASS_SOURCE_SHARE &&
		net->reass_of[source].datagrams > 0)
		evict_oldest_of(e, source);
	while (net->reass_mbufs + m->nb_segs > net->reass_mbufs_max && !list_empty(&net->reass_age))
		evict_oldest(e);
	r = reass_get(e, p, f->id);
	if (r->dead)
		return refuse(e, m);
	/* The end is said once, and nothing lies behind it. */
	if ((r->total != 0 && (end > r->total || (!f->more && end != r->total))) ||
		(!f->more && r->tail != NULL && end_of(r->tail) > end) ||
		r->frags == REASS_FRAGS_MAX)
		return condemn(e, r, m);
	switch (place_find(r, f->off, end, &before)) {
	case PLACE_AGAIN:
		rte_pktmbuf_free(m);
		return NULL;
	case PLACE_OVERLAP:
		return condemn(e, r, m);
	case PLACE_OK:
		break;
	}
	if (!f->more)
		r->total = end;
	p->seq = f->off;
	insert(e, r, m, before);
	return r->total != 0 && r->have == r->total ? join(e, r) : NULL;
}

int reass_init(struct engine *e)
{
	struct net *net = e->net;

	list_init(&net->reass_age);
	for (unsigned i = 0; i < REASS_BUCKETS; i++)
		list_init(&net->reass_buckets[i]);
	net->reass_mbufs_max = e->pkt_pool->size / 8;
	return pool_init(&net->reass, sizeof(struct reass), REASS_MAX);
}

void reass_fini(struct engine *e)
{
	while (!list_empty(&e->net->reass_age))
		reass_free(e, list_entry(list_first(&e->net->reass_age), struct reass, age_node));
	pool_fini(&e->net->reass);
}
