/* SPDX-License-Identifier: BSD-3-Clause */
/* The workers of one service: see crew.h. */
#include "stack/core/crew.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "stack/core/pkt.h"
#include "stack/net/ip.h"

#define RECEIVE_BUDGET 256u /* packets of one worker in one turn */

static struct spsc *ring(struct spsc *rings, const struct crew *c, unsigned from, unsigned to)
{
	return &rings[from * c->n + to];
}

static struct spsc *rings_new(uint16_t n, uint32_t entries, uint32_t width)
{
	unsigned all = (unsigned)n * n;
	struct spsc *rings = aligned_alloc(64, all * sizeof(*rings));

	for (unsigned i = 0; rings != NULL && i < all; i++) {
		if (spsc_init(&rings[i], entries, width) == 0)
			continue;
		while (i-- > 0)
			spsc_fini(&rings[i]);
		free(rings);
		return NULL;
	}
	return rings;
}

static void rings_free(struct spsc *rings, uint16_t n)
{
	for (unsigned i = 0; rings != NULL && i < (unsigned)n * n; i++)
		spsc_fini(&rings[i]);
	free(rings);
}

static void tables_free(struct crew *c)
{
	rings_free(c->packets, c->n);
	rings_free(c->messages, c->n);
	free(c->unsent);
	free(c->pins);
	free(c->udp_ports);
	free(c->waiting);
	free(c);
}

struct crew *crew_new(uint16_t n, const struct engine_env *env)
{
	struct crew *c = aligned_alloc(64, sizeof(*c));

	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->n = n;
	c->pin_key.k0 = env->random64(env->ctx);
	c->pin_key.k1 = env->random64(env->ctx);
	c->packets = rings_new(n, CREW_PACKETS, 1);
	c->messages = rings_new(n, CREW_MESSAGES, CREW_MESSAGE_WORDS);
	c->unsent = calloc((size_t)n * n, sizeof(*c->unsent));
	c->pins = aligned_alloc(64, n * sizeof(*c->pins));
	c->udp_ports = calloc(UINT16_MAX + 1u, sizeof(*c->udp_ports));
	c->waiting = calloc((size_t)n * CREW_LISTENERS, sizeof(*c->waiting));
	if (c->packets == NULL || c->messages == NULL || c->unsent == NULL || c->pins == NULL ||
		c->udp_ports == NULL || c->waiting == NULL) {
		tables_free(c);
		return NULL;
	}
	for (unsigned i = 0; i < (unsigned)n * n; i++)
		list_init(&c->unsent[i].all);
	memset(c->pins, 0, n * sizeof(*c->pins));
	return c;
}

static struct rte_mbuf *packet_of(uint64_t word)
{
	return (struct rte_mbuf *)(uintptr_t)(word & ~(uint64_t)CREW_KINDS_MASK);
}

/* A message that its ring had no room for. */
struct unsent {
	struct list node;
	struct crew_message msg;
};

static struct unsent *unsent_pop(struct crew_unsent *u)
{
	u->n--;
	return list_entry(list_pop(&u->all), struct unsent, node);
}

static void packets_free(struct spsc *r)
{
	uint32_t tail = spsc_tail(r);
	const uint64_t *word;

	while ((word = spsc_front(r, tail)) != NULL) {
		rte_pktmbuf_free(packet_of(*word));
		spsc_take_done(r);
	}
}

static void message_free(const struct crew_message *msg)
{
	if (msg->kind < CREW_NET)
		free(msg->data);
}

static void messages_free(struct spsc *r)
{
	uint32_t tail = spsc_tail(r);
	const uint64_t *words;

	while ((words = spsc_front(r, tail)) != NULL) {
		struct crew_message msg;

		memcpy(&msg, words, sizeof(msg));
		message_free(&msg);
		spsc_take_done(r);
	}
}

void crew_free(struct crew *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < (unsigned)c->n * c->n; i++) {
		packets_free(&c->packets[i]);
		messages_free(&c->messages[i]);
		while (c->unsent[i].n > 0) {
			struct unsent *m = unsent_pop(&c->unsent[i]);

			message_free(&m->msg);
			free(m);
		}
	}
	tables_free(c);
}

/* --- pinned flows ---------------------------------------------------------------------------------- */

static uint64_t pin_hash(
	const struct crew *c, uint8_t proto, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	uint64_t w[5];

	memcpy(&w[0], local->addr, 16);
	memcpy(&w[2], peer->addr, 16);
	w[4] = (uint64_t)proto << 32 | (uint64_t)local->port << 16 | peer->port;
	return siphash(&c->pin_key, w, 5) | 1; /* 0 is none */
}

static inline bool has_pins(const struct crew_pins *p)
{
	return cv_unlikely(__atomic_load_n(&p->n, __ATOMIC_ACQUIRE) != 0);
}

static bool is_pinned(const struct crew_pins *p, uint64_t hash)
{
	const uint64_t *bucket = p->of[hash / 2 % CREW_PIN_BUCKETS];

	for (unsigned i = 0; i < CREW_PIN_WAYS; i++) {
		if (__atomic_load_n(&bucket[i], __ATOMIC_RELAXED) == hash)
			return true;
	}
	return false;
}

/* The bucket's place for what lies there as `old`; NULL: there is none. */
static uint64_t *pin_place(struct crew_pins *p, uint64_t hash, uint64_t old)
{
	uint64_t *bucket = p->of[hash / 2 % CREW_PIN_BUCKETS];

	for (unsigned i = 0; i < CREW_PIN_WAYS; i++) {
		if (bucket[i] == old)
			return &bucket[i];
	}
	return NULL;
}

/* Before the packet that makes others answer: it is seen with that at the latest. False: no room. */
static bool pin_add(struct crew_pins *p, uint64_t hash)
{
	uint64_t *place = pin_place(p, hash, 0);

	if (place == NULL)
		return false;
	__atomic_store_n(place, hash, __ATOMIC_RELAXED);
	__atomic_store_n(&p->n, p->n + 1, __ATOMIC_RELEASE);
	return true;
}

static void pin_del(struct crew_pins *p, uint64_t hash)
{
	uint64_t *place = pin_place(p, hash, hash);

	if (place == NULL)
		return;
	__atomic_store_n(place, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&p->n, p->n - 1, __ATOMIC_RELEASE);
}

uint16_t crew_flow_owner(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	const struct crew *c = e->crew;
	uint16_t to = crew_by_hash(c, crew_hash(local->addr, peer->addr, local->port, peer->port));

	return to != 0 && has_pins(&c->pins[0]) && is_pinned(&c->pins[0], pin_hash(c, IPPROTO_TCP, local, peer)) ? 0 : to;
}

/* A worker other than 0 never has such flows: it chooses its ports itself. */
static bool needs_pin(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	return cv_unlikely(e->crew != NULL) && e->worker == 0 && !crew_is_mine(e, local, peer);
}

bool crew_may_pin(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	return !needs_pin(e, local, peer) ||
		pin_place(&e->crew->pins[0], pin_hash(e->crew, IPPROTO_TCP, local, peer), 0) != NULL;
}

void crew_pin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	if (needs_pin(e, local, peer))
		(void)pin_add(&e->crew->pins[0], pin_hash(e->crew, IPPROTO_TCP, local, peer));
}

void crew_unpin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	if (needs_pin(e, local, peer))
		pin_del(&e->crew->pins[0], pin_hash(e->crew, IPPROTO_TCP, local, peer));
}

/* --- ports of UDP ---------------------------------------------------------------------------------- */

static uint64_t *udp_word(const struct engine *e, uint16_t port)
{
	return &e->crew->udp_ports[port];
}

static inline uint32_t workers_of(uint64_t word)
{
	return (uint32_t)(word & UINT16_MAX);
}

static inline bool may_join(uint64_t word, uint64_t mine, uint64_t alike)
{
	if ((word & UINT16_MAX & ~mine) == 0)
		return true;
	return (word & CREW_UDP_SPREAD) && alike != 0 && word >> CREW_UDP_ALIKE_SHIFT == alike >> CREW_UDP_ALIKE_SHIFT;
}

/* A port all of whose sockets are ours is spread as long as all are bound alike. */
static uint64_t joined(uint64_t word, uint64_t mine, uint64_t alike)
{
	const uint64_t spread = CREW_UDP_SPREAD | (alike >> CREW_UDP_ALIKE_SHIFT << CREW_UDP_ALIKE_SHIFT);
	const uint64_t sets = mine | mine << CREW_UDP_OPEN_SHIFT;

	if (word == 0)
		return alike != 0 ? sets | spread : sets;
	if (alike != 0 && word >> 32 == spread >> 32)
		return word | sets;
	return (word & UINT32_MAX) | sets;
}

int crew_udp_claim(struct engine *e, uint16_t port, uint64_t alike)
{
	const uint64_t mine = 1ull << e->worker;
	uint64_t *at = udp_word(e, port), word = __atomic_load_n(at, __ATOMIC_ACQUIRE);

	do {
		if (!may_join(word, mine, alike))
			return __builtin_ctzll(word & ~mine);
	} while (!__atomic_compare_exchange_n(
		at, &word, joined(word, mine, alike), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return -1;
}

void crew_udp_state(struct engine *e, uint16_t port, bool any, bool open)
{
	const uint64_t mine = 1ull << e->worker, mine_open = mine << CREW_UDP_OPEN_SHIFT;
	uint64_t *at = udp_word(e, port), word = __atomic_load_n(at, __ATOMIC_ACQUIRE), next;

	do {
		next = (word & ~(mine | mine_open)) | (any ? mine : 0) | (open ? mine_open : 0);
		if (workers_of(next) == 0)
			next = 0;
	} while (!__atomic_compare_exchange_n(at, &word, next, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

bool crew_udp_is_spread(const struct engine *e, uint16_t port)
{
	return (__atomic_load_n(udp_word(e, port), __ATOMIC_ACQUIRE) & CREW_UDP_SPREAD) != 0;
}

uint32_t crew_udp_workers(const struct engine *e, uint16_t port)
{
	return workers_of(__atomic_load_n(udp_word(e, port), __ATOMIC_ACQUIRE));
}

bool crew_udp_pin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	return pin_add(&e->crew->pins[e->worker], pin_hash(e->crew, IPPROTO_UDP, local, peer));
}

void crew_udp_unpin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	pin_del(&e->crew->pins[e->worker], pin_hash(e->crew, IPPROTO_UDP, local, peer));
}

/* The one that the hash says, if it has such a socket, else one that has. */
static uint16_t by_hash_among(const struct crew *c, uint32_t workers, uint32_t hash)
{
	uint16_t to = crew_by_hash(c, hash);
	unsigned nth;

	if (workers >> to & 1)
		return to;
	nth = (hash / CREW_TABLE) % (unsigned)__builtin_popcount(workers);
	while (nth-- > 0)
		workers &= workers - 1;
	return (uint16_t)__builtin_ctz(workers);
}

static uint16_t spread_owner(const struct crew *c, uint32_t workers, const struct cv_endpoint *local,
	const struct cv_endpoint *peer)
{
	uint64_t hash = 0;

	for (uint16_t k = 0; k < c->n; k++) {
		if (!has_pins(&c->pins[k]))
			continue;
		if (hash == 0)
			hash = pin_hash(c, IPPROTO_UDP, local, peer);
		if (is_pinned(&c->pins[k], hash))
			return k;
	}
	return by_hash_among(c, workers, crew_hash(local->addr, peer->addr, local->port, peer->port));
}

uint16_t crew_udp_owner(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	uint64_t word = __atomic_load_n(udp_word(e, local->port), __ATOMIC_RELAXED);
	uint32_t workers = workers_of(word), open = workers_of(word >> CREW_UDP_OPEN_SHIFT);

	if (workers == 0)
		return 0;
	if ((workers & (workers - 1)) == 0)
		return (uint16_t)__builtin_ctz(workers);
	return spread_owner(e->crew, open != 0 ? open : workers, local, peer);
}

/* --- listeners -------------------------------------------------------------------------------------- */

uint32_t crew_listener_new(struct engine *e)
{
	for (uint32_t i = 1; i < CREW_LISTENERS; i++) {
		if (e->crew->listener_used[i])
			continue;
		e->crew->listener_used[i] = true;
		return i;
	}
	return 0;
}

/* A worker that has not heard of it yet takes its count back when it does, before it hears of the number's next one. */
void crew_listener_end(struct engine *e, uint32_t listener)
{
	e->crew->listener_used[listener] = false;
}

void crew_waiting_set(struct engine *e, uint32_t listener, uint32_t n)
{
	__atomic_store_n(&e->crew->waiting[e->worker * CREW_LISTENERS + listener], n, __ATOMIC_RELAXED);
}

uint32_t crew_waiting(const struct engine *e, uint32_t listener)
{
	uint32_t sum = 0;

	for (uint32_t k = 0; k < e->crew->n; k++)
		sum += __atomic_load_n(&e->crew->waiting[k * CREW_LISTENERS + listener], __ATOMIC_RELAXED);
	return sum;
}

/* --- what one puts for another ---------------------------------------------------------------------- */

struct rte_mbuf *crew_copy(struct engine *e, const struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, e->pkt_pool, 0, UINT32_MAX);

	if (copy == NULL) {
		e->counters.no_mbuf++;
		return NULL;
	}
	*pkt_of(copy) = *(const struct pkt *)rte_mbuf_to_priv((struct rte_mbuf *)(uintptr_t)m);
	return copy;
}

void crew_hand_over(struct engine *e, uint16_t to, struct rte_mbuf *m, enum crew_packet kind)
{
	struct spsc *r = ring(e->crew->packets, e->crew, e->worker, to);
	uint64_t *word = spsc_put(r);

	if (word == NULL) {
		e->counters.drop_handover++;
		rte_pktmbuf_free(m);
		return;
	}
	*word = (uintptr_t)m | kind;
	spsc_put_done(r);
	e->crew_told |= 1u << to;
	e->counters.handed_over++;
}

void crew_tell_all(struct engine *e, const struct rte_mbuf *m, enum crew_packet kind)
{
	for (uint16_t to = 0; to < e->crew->n; to++) {
		struct rte_mbuf *copy = to != e->worker ? crew_copy(e, m) : NULL;

		if (copy != NULL)
			crew_hand_over(e, to, copy, kind);
	}
}

static bool post(struct engine *e, uint16_t to, const struct crew_message *msg)
{
	struct spsc *r = ring(e->crew->messages, e->crew, e->worker, to);
	uint64_t *words = spsc_put(r);

	if (words == NULL)
		return false;
	memcpy(words, msg, sizeof(*msg));
	spsc_put_done(r);
	e->crew_told |= 1u << to;
	return true;
}

static struct crew_unsent *unsent_for(const struct engine *e, uint16_t to)
{
	return &e->crew->unsent[e->worker * e->crew->n + to];
}

static bool send_within(
	struct engine *e, uint16_t to, const struct crew_message *msg, uint32_t most)
{
	struct crew_unsent *u = unsent_for(e, to);
	struct unsent *m;

	if (u->n == 0 && post(e, to, msg))
		return true;
	m = u->n < most ? malloc(sizeof(*m)) : NULL;
	if (m == NULL) {
		e->counters.drop_message++;
		return false;
	}
	m->msg = *msg;
	list_init(&m->node);
	list_add_tail(&u->all, &m->node);
	u->n++;
	e->unsent_n++;
	return true;
}

bool crew_send(struct engine *e, uint16_t to, const struct crew_message *msg)
{
	return send_within(e, to, msg, CREW_UNSENT_MAX);
}

bool crew_send_owed(struct engine *e, uint16_t to, const struct crew_message *msg)
{
	return send_within(e, to, msg, UINT32_MAX);
}

bool crew_has_room(const struct engine *e)
{
	for (uint16_t to = 0; e->unsent_n > 0 && to < e->crew->n; to++) {
		if (unsent_for(e, to)->n >= CREW_UNSENT_MAX)
			return false;
	}
	return true;
}

void crew_send_all(struct engine *e, const struct crew_message *msg)
{
	for (uint16_t to = 0; e->crew != NULL && to < e->crew->n; to++) {
		if (to != e->worker)
			(void)crew_send(e, to, msg);
	}
}

/* One worker that stands still holds up nobody else's. */
static void unsent_send(struct engine *e)
{
	for (uint16_t to = 0; to < e->crew->n; to++) {
		struct crew_unsent *u = unsent_for(e, to);

		while (u->n > 0 &&
			post(e, to, &list_entry(list_first(&u->all), struct unsent, node)->msg)) {
			free(unsent_pop(u));
			e->unsent_n--;
		}
	}
}

/* --- the turn --------------------------------------------------------------------------------------- */

static uint32_t messages_receive(struct engine *e, unsigned from)
{
	struct spsc *r = ring(e->crew->messages, e->crew, from, e->worker);
	uint32_t tail = spsc_tail(r), n = 0;
	const uint64_t *words;

	for (; (words = spsc_front(r, tail)) != NULL; n++) {
		struct crew_message msg;

		memcpy(&msg, words, sizeof(msg));
		spsc_take_done(r);
		if (msg.kind >= CREW_NET)
			net_crew_message(e, &msg);
		else if (e->message != NULL)
			e->message(e->user_ctx, (uint16_t)from, &msg);
	}
	return n;
}

static uint32_t packets_receive(struct engine *e, unsigned from, uint32_t tail)
{
	struct spsc *r = ring(e->crew->packets, e->crew, from, e->worker);
	uint64_t burst[ENGINE_BURST];
	uint32_t all = 0, n;

	do {
		const uint64_t *word;

		for (n = 0; n < ENGINE_BURST && (word = spsc_front(r, tail)) != NULL; n++) {
			burst[n] = *word;
			spsc_take_done(r);
		}
		net_crew_input(e, burst, n);
		all += n;
	} while (n == ENGINE_BURST && all < RECEIVE_BUDGET);
	return all;
}

uint32_t crew_receive(struct engine *e)
{
	uint32_t work = 0;

	if (cv_unlikely(e->unsent_n > 0))
		unsent_send(e);
	for (unsigned from = 0; from < e->crew->n; from++) {
		uint32_t tail;

		if (from == e->worker)
			continue;
		tail = spsc_tail(ring(e->crew->packets, e->crew, from, e->worker));
		work += messages_receive(e, from);
		work += packets_receive(e, from, tail);
	}
	return work;
}

bool crew_pending(const struct engine *e)
{
	const struct crew *c = e->crew;

	for (unsigned from = 0; from < c->n; from++) {
		if (from != e->worker && (!spsc_is_empty(ring(c->packets, c, from, e->worker)) ||
						!spsc_is_empty(ring(c->messages, c, from, e->worker))))
			return true;
	}
	return false;
}

void crew_wake(struct engine *e)
{
	uint32_t told = e->crew_told;

	if (told == 0)
		return;
	e->crew_told = 0;
	if (e->env.wake == NULL)
		return;
	/* Pairs with the fence of who says that it sleeps and then looks at its rings. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint16_t to = 0; told != 0; to++, told >>= 1) {
		if (told & 1)
			e->env.wake(e->env.ctx, to);
	}
}
