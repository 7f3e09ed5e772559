/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engine sockets inside the shim: what the files sock.c, decide.c, record.c, lazy.c, rx.c, tx.c, option.c, address.c share.
 * Functions return 0 or more, or -errno, unless they say otherwise.
 */
#ifndef CULVERT_SHIM_SOCK_H
#define CULVERT_SHIM_SOCK_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shim/fd.h"
#include "shim/lane.h"

static inline struct link *sock_link(const struct file *f)
{
	return (struct link *)(void *)f->mux.link;
}

/* --- record.c --- */
/* A synchronous command on f's socket; the reply, if wanted, is copied out. */
int sock_call(struct file *f, struct cv_command *command, void *reply, uint32_t *reply_len);
int sock_post(struct file *f, struct cv_command *command);
/* Whoever waits for the socket, in any process, looks at it again: something of the library's own has changed. */
void sock_tell(struct file *f);
/* The pending error, cleared; 0: none. A dead engine: ENETDOWN. Positive errno. */
int sock_take_error(struct file *f);
/* There is one. */
bool sock_has_error(const struct file *f);
bool sock_is_dead(const struct file *f);
/* Whether a call waits: O_NONBLOCK and MSG_DONTWAIT. */
bool sock_waits(const struct file *f, int flags);
struct cv_sock *sock_record(const struct link *l, uint32_t handle);
/* Ties f to the record of a handle. */
void sock_attach(struct file *f, struct link *l, uint32_t handle);
/* The last descriptor of this process is gone. */
void sock_close(struct file *f);
/* What a call comes to that finds the lock its own thread's: a handler has interrupted another call on the socket, and
 * cannot wait for it. -EAGAIN to the program. */
#define SOCK_OWN_LOCK (-EDEADLK)
/* Locks of the record, by thread id. False: given up because of a handler of the same thread. */
bool sock_lock(struct file *f, uint32_t *word);
void sock_unlock(uint32_t *word);
/* A lock of this process, which a signal handler may find taken by its own thread: false. */
bool thread_lock(uint32_t *word);
void thread_unlock(uint32_t *word);
/* One thread at a time decides what an undecided socket is; another one waits, then finds what it has become. Never held
 * over a wait for a peer. False: this thread is deciding it just now, and a signal handler interrupted it. */
bool sock_decide_begin(struct file *f);
void sock_decide_end(struct file *f);
/* The child's one thread has a number of its own. */
void sock_fork_child(void);

/* --- decide.c --- */
/* bind(2): whose it is by that address. */
int sock_bind(int fd, struct file *f, const struct sockaddr *addr, socklen_t len);
/* One that is undecided is bound to the wildcard, as a datagram socket's first sendto does. */
int sock_autobind(int fd, struct file *f);
/* Whose it is by the address that it connects to. Waits for nobody but the engine. */
enum sock_connect {
	CONNECT_BEGUN,  /* the engine's, and begun */
	CONNECT_KERNEL, /* the kernel's, to be connected */
	CONNECT_ENGINE, /* the engine's, to be connected */
};
int sock_connect_decide(int fd, struct file *f, const struct cv_endpoint *end); /* one of these */

/* --- lazy.c --- */
/* A number for an undecided stream socket. Only where there is an engine; -1: as usual. */
int lazy_socket(int family, int type);
/* A number that is a socket to fstat and costs no socket: a duplicate of the placeholder. */
int lazy_reserve(bool cloexec);
/* The placeholder itself; made when there is none yet. */
int lazy_placeholder(void);
/* A kernel socket of f's kind under that number of f's, SOCK_CLOEXEC or 0; at the limit of descriptors in the number's own
 * place. The number, or -1. */
int lazy_socket_over(int fd, const struct file *f, int cloexec);
/* Puts a kernel socket under a lazy one, under its number. */
void sock_make_whole(int fd, struct file *f);
/* The same for who decides about f. */
void lazy_end(int fd, struct file *f);
/* Before fork: parent and child share what is not decided yet. */
void sock_fork_prepare(void);

/* --- rx.c, tx.c --- */
/* What Linux says of a message before it looks at the socket: 0, or -errno. The others are for one that passed. */
int msg_refuse(const struct msghdr *msg);
/* A part of it cannot be memory of the program's. */
bool msg_is_bad(const struct msghdr *msg);
size_t msg_bytes(const struct msghdr *msg);
/* No call moves more than so many bytes; Linux does a part of what is asked for (MAX_RW_COUNT: read(2)). */
static inline size_t msg_bytes_cut(size_t n)
{
	return n < 0x7ffff000 ? n : 0x7ffff000;
}
/* Copies n bytes to msg's vectors; returns how many fitted. */
size_t rx_scatter(const struct msghdr *msg, const void *from, size_t n);
ssize_t rx_message(int fd, struct file *f, struct msghdr *msg, int flags);
ssize_t tx_message(int fd, struct file *f, const struct msghdr *msg, int flags);
/* The same for n bytes of the file `in` from `at` on; fewer when the file ends before. Streams only. */
ssize_t tx_file(struct file *f, int in, off_t at, size_t n);
/* Takes one connection off a listener: its handle in *handle, or -EAGAIN. */
int rx_connection(struct file *f, uint32_t *handle);
/* The next byte is the urgent one. */
bool rx_at_mark(struct file *f);
/* Bytes that FIONREAD tells: of the datagram that comes next, 0: none; of a stream up to the urgent one. */
int rx_next_bytes(struct file *f);

/* --- option.c --- */
void option_note(struct file *f, int level, int name, const void *value, socklen_t len);
void option_replay(int fd, struct file *f);
int option_unsent(struct file *f); /* SIOCOUTQNSD of a stream */
int option_get(int fd, struct file *f, int level, int name, void *value, socklen_t *len);
int option_set(int fd, struct file *f, int level, int name, const void *value, socklen_t len);

/* --- mcast.c: groups (ip(7), ipv6(7), RFC3678) --- */
/* Whether it is an option about groups whose layout or side is not as others'. */
bool mcast_option(int level, int name);
int mcast_set(int fd, struct file *f, int level, int name, const void *value, socklen_t len);
/* What of these is read otherwise than by option_get(). */
bool mcast_reads(int level, int name);
int mcast_get(int fd, struct file *f, int level, int name, void *value, socklen_t *len);
void mcast_forget(struct file *f);
/* What was asked for before it was decided who serves the socket. */
void mcast_replay(struct file *f);
/* A group that the program sends to by an interface of the engine's. */
bool mcast_to_engine(const struct file *f, const struct cv_endpoint *to);

/* --- address.c --- */
/* *family: of the address, -1 if it has none; -EFAULT, -EINVAL, -EAFNOSUPPORT. */
int address_in(const struct sockaddr *addr, socklen_t len, struct cv_endpoint *end, int *family);
/* As a socket of that family sees it; cut to *len as Linux does. */
void address_out(const struct cv_endpoint *end, int family, struct sockaddr *addr, socklen_t *len);
bool address_is_any(const struct cv_endpoint *end);
/* enum cv_family: of the address, not of a socket that may hold mapped ones. */
uint8_t address_family(const struct cv_endpoint *end);

#endif
