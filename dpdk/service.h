/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One running engine: what the worker and the control thread share.
 *
 * Inside a program (inline.c) the worker is whoever holds the baton.
 *
 * Owns: the parts and who may touch them. stack/ is the worker's alone; the control thread asks for
 * things by worker_call(). Groups, connections and the control socket are the control thread's.
 */
#ifndef CULVERT_DPDK_SERVICE_H
#define CULVERT_DPDK_SERVICE_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "dpdk/config.h"
#include "dpdk/ports.h"
#include "stack/api/page.h"
#include "stack/core/engine.h"
#include "stack/user/user.h"

/* Interrupts the worker's system call. */
#define SERVICE_SIGNAL SIGUSR1
/* Of what the control thread looks at again and again while there are programs. */
#define SERVICE_TICK_MS 100
/* And so long after a doorbell has blocked: others may follow, each in a program of its own. */
#define SERVICE_TICK_WARY_MS 2
#define SERVICE_WARY_NS 10000000000ull

struct worker_call {
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

/* What worker_watch() saw last. The control thread's. */
struct worker_look {
	uint32_t ringing, ticks;
	uint64_t turns;
};

struct worker_idle {
	uint64_t since;  /* of the last work */
	uint64_t looked; /* at the ports' links, */
	uint64_t called; /* and at drivers' callbacks */
	uint32_t looks;  /* without a turn */
	uint32_t told;   /* user_told() when programs had the core last */
	bool asleep;     /* it slept since the last work */
};

struct service;

/* One engine and its thread. */
struct worker {
	struct service *s;
	uint16_t number;
	struct engine *engine;
	struct user *user;
	struct ports_view ports;
	int epoll; /* device and program doorbells; what a sleeping worker waits for */
	int kick;  /* eventfd: the control thread or another worker calls */
	_Atomic(struct worker_call *) call;
	pthread_t thread;
	_Atomic uint32_t ringing; /* odd: inside a program's doorbell */
	struct worker_idle idle;
	struct worker_look look;
	uint64_t random[64];
	unsigned random_left;
};

struct service {
	struct config config;
	uint64_t secret[2]; /* engine.h's */
	bool inside; /* a program's process: its signals and limits are not ours */
	uint32_t made_first, made_n, made_gen; /* page.c: places of addresses made of routers' prefixes */
	struct ports ports;
	struct crew *crew; /* NULL: one worker */
	uint16_t workers;
	struct worker worker[CV_WORKERS_MAX]; /* the first one is the thread that made them all */
	struct cv_page *page; /* mapped writable here, sealed against it elsewhere */
	int page_fd;
	/* all workers */
	atomic_bool stop;
	atomic_bool settled; /* programs are let in */
	/* control */
	pthread_t control;
	uint64_t wary_until; /* a doorbell has blocked lately */
	int control_fd; /* listening; -1: there is no such engine, or another one has the name */
	int lock_fd;    /* what says that we have it */
	int control_kick;
	int own_fds; /* the directory of our descriptors: a program that an engine is inside of may leave it by chroot */
	int until_idle; /* the engine ends when this process is gone and no program is left; 0: never */
};

/* service.c: the calling thread becomes worker 0. 0, or the exit code with one line in error: 1 it cannot run, 2
 * the configuration asks for what is not there. */
int service_start(struct service *s, bool verbose, char error[CONFIG_ERROR_BYTES]);

/* page.c: 0, or -1 with errno. */
int page_make(struct service *s);
/* Takes over the addresses that routers' prefixes have made since the last time. On worker 0. */
void page_addresses(struct service *s, struct engine *e);

/* worker.c */
/* Engines and user sides of all workers; 0 or -1 with one line in error. */
int workers_prepare(struct service *s, char error[CONFIG_ERROR_BYTES]);
/* Starts the threads of all but the first worker; 0 or -1 with one line in error. */
int workers_start(struct service *s, char error[CONFIG_ERROR_BYTES]);
/* After the first one has ended: waits for the others, and frees all. */
void workers_end(struct service *s);
/* Worker 0: runs until no address is being tested for another owner any more (RFC5227, RFC4862:5.4; ports whose link is
 * down aside), 9 s at most; then programs are let in. */
void worker_settle(struct worker *w);
/* Runs until stop; the calling thread is the worker. */
void worker_run(struct worker *w);
uint64_t worker_now_ns(void);
/* Whether a turn is to be run now: there is work, or it is time to look at timers again. */
bool worker_look(struct worker *w);
/* One turn and what belongs to it; how much work there was. */
uint32_t worker_turn(struct worker *w, uint64_t now);
/* After a turn without work: when the next one is due at the latest. */
uint64_t worker_sleep_until(struct worker *w);
/* Whether somebody wants a turn: looked at after saying that we sleep. */
bool worker_is_called(struct worker *w);
/* Sleeps until a device, a doorbell, the control thread or another worker wants a turn. */
void worker_wait(struct worker *w, uint64_t now, uint64_t until);
/* Runs fn(arg) between two turns and returns when it is done. Control thread only. */
void worker_call(struct worker *w, void (*fn)(void *arg), void *arg);
/* Once a tick: frees workers that a program's doorbell holds. Control thread only. */
void workers_watch(struct service *s);
/* Milliseconds of a tick now. Control thread only. */
int workers_tick_ms(const struct service *s);
/* Ends a worker's sleep. Any thread. */
void worker_kick(struct worker *w);
/* A doorbell of a program: wakes the worker from its sleep. 0 or -errno. */
int worker_doorbell_add(struct worker *w, int fd);

/* control_socket.c */
/* Whether an engine answers on a control socket. */
bool control_answers(const char *path);
/* Binds and listens; 0 or -1 with one line in error. */
int control_listen(struct service *s, char error[CONFIG_ERROR_BYTES]);

/* control.c */
int control_start(struct service *s);
/* Has the control thread look at s->settled and s->stop. Any thread. */
void control_call(struct service *s);
void control_stop(struct service *s);

/* report.c: answers "ss", "stat", "config", "version" as JSON text, to be freed; NULL for anything else. */
char *report_make(struct service *s, const char *what);

#endif
