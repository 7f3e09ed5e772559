/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted peer: one engine, and instead of a second one a test that writes segments by hand and looks at each
 * that comes back, with its time. Sequence numbers in a script are relative: of the peer to its own initial
 * number, of the engine to the engine's, so that the SYN of either is 0.
 *
 * Owns: the peer's end of the wire (10.0.0.2, its ARP included). Does not own: sockets of the engine, which the
 * test opens and closes as any user.
 * Called by: tests/world/tcp_*.c.
 */
#ifndef CULVERT_TESTS_SCRIPT_H
#define CULVERT_TESTS_SCRIPT_H

#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

/* A case, and the script that it begins with. */
#define T(name) static void name(void **state)
#define START                                                                                                \
	struct script *s = script_new(1);                                                                    \
	(void)state

#define SCRIPT_PORT 80       /* the engine's */
#define SCRIPT_PEER_PORT 4000
#define SCRIPT_ISS 1000u     /* the peer's initial sequence number; settable */
#define SCRIPT_SEGS 1024

/* A segment that the engine sent. */
struct script_seg {
	uint64_t at_ns;
	struct wire_tcp h; /* as on the wire */
	uint8_t tos, ttl;  /* of its IP header */
	uint32_t seq, ack; /* relative */
	uint32_t len;
	uint8_t *data; /* the script's, until as many others have come */
};

struct script {
	struct world *w;
	struct engine *e;
	uint32_t iss, irs;  /* the peer's, the engine's */
	bool irs_known;
	uint16_t port, peer_port;
	/* what every segment of the peer carries */
	uint16_t wnd;
	uint8_t tos;
	bool ts;
	uint32_t tsval, tsecr;
	uint8_t sacks_n;
	struct range sacks[WIRE_TCP_SACK_MAX]; /* relative to the engine's numbers */
	/* options of its SYN */
	uint16_t mss;
	bool sack_ok, has_wscale;
	uint8_t wscale;
	uint16_t urg;
	bool has_fo; /* Fast Open's option, of fo_n bytes */
	uint8_t fo_n, fo[WIRE_TCP_FO_MAX];
	/* of its IP headers; NULL: 10.0.0.2, 10.0.0.1, no options */
	const uint8_t *from_ip, *to_ip, *ip_options; /* options: four bytes */
	struct script_seg segs[SCRIPT_SEGS];
	unsigned head, tail;
	bool forgets; /* the oldest makes room for one more; else as many must have been looked at */
};

struct script *script_new(uint64_t seed);
/* Lets time pass until what was closed is gone, and checks that nothing is left. */
void script_free(struct script *s);
/* The end of a case: aborts the user's sockets and frees the script. */
void script_gone(struct script *s, struct sock *sk);
void script_both_gone(struct script *s, struct sock *a, struct sock *b);
/* The end of a case whose peer says nothing any more: R2's 15 tries, then the connection is given up (RFC9293:3.8.3). */
void script_times_out(struct script *s, struct sock *sk);
void script_set(struct sock *sk, enum cv_option opt, int v);

struct sock *script_socket(struct script *s);
/* A listener at 10.0.0.1:80. */
struct sock *script_listen(struct script *s, uint32_t backlog);
struct sock *script_accept(struct script *s, struct sock *listener);

/* The peer sends flags, data of len bytes at seq; ack is ignored without TCP_ACK. */
void script_send(struct script *s, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint32_t len);
/* The same, but it stays on the wire: the next script_send() or script_wait() brings it, in one burst. */
void script_queue(struct script *s, uint8_t flags, uint32_t seq, uint32_t ack, const void *data, uint32_t len);
/* Lets ns pass, taking what the engine sends. */
void script_wait(struct script *s, uint64_t ns);
/* The next segment of the engine, at most within_ns from now; fails the test when none comes. */
const struct script_seg *script_next(struct script *s, uint64_t within_ns);
/* The same, with these flags, numbers and length; fails with both written out. script_expect waits 300 ms. */
#define script_expect_in(s, within, flags, seq, ack, len)                                                    \
	script_expect_at(s, within, flags, seq, ack, len, __FILE__, __LINE__)
const struct script_seg *script_expect_at(struct script *s, uint64_t within_ns, uint8_t flags, uint32_t seq,
	uint32_t ack, uint32_t len, const char *file, int line);
#define script_expect(s, flags, seq, ack, len)                                                               \
	script_expect_at(s, 300 * MS, flags, seq, ack, len, __FILE__, __LINE__)
/* Nothing comes within ns. */
#define script_quiet(s, ns) script_quiet_at(s, ns, __FILE__, __LINE__)
void script_quiet_at(struct script *s, uint64_t ns, const char *file, int line);

/* Shortcuts to states. The peer has sent its SYN (0), its next number is 1; the engine's too. */
struct sock *script_established_passive(struct script *s, struct sock **listener);
struct sock *script_established_active(struct script *s);

/* As if so many more bytes had come, been read and acknowledged, and so many gone; nothing may be under way. Numbers of
 * the script stay as they are. */
void script_much_later(struct script *s, struct sock *sk, uint32_t came, uint32_t went);

/* The user writes n pattern bytes. */
void script_write(struct script *s, struct sock *sk, uint32_t n);
uint8_t script_byte(uint32_t at);
enum tcp_state script_state(const struct sock *sk);
/* Fails unless the socket is in the state. */
#define script_is(sk, wanted) script_is_at(sk, TCP_##wanted, __FILE__, __LINE__)
void script_is_at(const struct sock *sk, enum tcp_state wanted, const char *file, int line);

#endif
