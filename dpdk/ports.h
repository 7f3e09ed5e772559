/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The EAL and the devices of an engine.
 *
 * Owns: EAL arguments, packet pools, ethdev set-up, the kernel's end of a TAP. Does not own: what
 * the stack does with frames. Called by: service.c when an engine starts and ends; the worker for
 * rx, tx and waiting.
 */
#ifndef CULVERT_DPDK_PORTS_H
#define CULVERT_DPDK_PORTS_H

#include <stdatomic.h>

#include "dpdk/config.h"
#include "stack/api/page.h"
#include "stack/base/spsc.h"
#include "stack/core/engine.h"

struct ports_port {
	const struct config_port *config;
	struct port stack; /* as the stack sees it */
	uint16_t ethdev;
	uint16_t queues; /* pairs of them: worker k has the k-th; what is beyond sends by worker k %
			    queues and receives by others */
	struct spsc
		*lent; /* [worker]: frames of one without a queue, for the worker that sends them */
	int rx_fd[CV_WORKERS_MAX]; /* by queue: readable when a frame waits; -1: the driver has none
				    */
	bool tap;
	bool connects;       /* a memif's client: */
	bool waits_for_peer; /* not started, its server is not there; */
	uint64_t started_ns; /* else when it was, about; 0: just now */
	bool one_segment;    /* it cannot send chains */
	bool own_memory;     /* it can read the EAL's memory only, not programs' */
	bool offloads;       /* it fills in checksums or cuts */
	bool link_told;      /* the driver says when the link changes */
	atomic_bool link_changed;
	char driver[32];
};

/* A VLAN on a port. */
struct ports_vlan {
	const struct config_port *config;
	struct port stack;
	uint16_t parent; /* index in ports.port */
};

struct ports {
	uint16_t n, vlans_n, workers;
	struct rte_mempool *pool;
	int callbacks_fd; /* readable when a driver's callback is due (callbacks.h) */
	struct ports_port port[CONFIG_PORTS_MAX];
	struct ports_vlan vlan[CONFIG_SECTIONS_MAX];
};

/* Starts the EAL as the configuration says; the calling thread becomes worker 0. inside: in a
 * program's process, without files and threads that only other processes need. Decides
 * hugepages=auto. 0, or with one line in error -1 (it does not start) or -2 (the configuration asks
 * for what is not there). */
int ports_eal_init(struct config *c, bool inside, bool noise, char error[CONFIG_ERROR_BYTES]);
/* Makes, configures and starts the devices. 0, or -1 with one line in error (FILE:LINE: ...). */
int ports_open(struct ports *p, const struct config *c, char error[CONFIG_ERROR_BYTES]);
void ports_close(struct ports *p);
/* The port of a section of the configuration; worker 0's. */
struct port *ports_stack_port(struct ports *p, const struct config_port *o);
/* Runs drivers' callbacks that are due; how many. Often, on the worker. */
uint32_t ports_callbacks(struct ports *p);
/* Looks at links that may have changed and tells the engine. Now and then, on the worker, and after
 * callbacks. */
void ports_link_look(struct ports *p, struct engine *e);
/* A worker's ports: what its engine knows of them, and the queues that are its. */
struct ports_view {
	struct ports *ports;
	uint16_t worker;
	/* Worker 0's are those that were opened, the others' copies. */
	struct port *stack[CONFIG_PORTS_MAX], *vlan[CONFIG_SECTIONS_MAX];
	uint32_t told; /* workers that have frames of ours to send, a bit each; whoever wakes them
			  clears it */
};
/* After ports_open(), before any engine is made. 0, -1: no memory. */
int ports_view_init(struct ports_view *v, struct ports *p, uint16_t worker);
/* Gives an engine the ports, their VLANs and the configured routes. As ports_open(). */
int ports_engine_add(struct ports_view *v, struct engine *e, const struct config *c,
	char error[CONFIG_ERROR_BYTES]);
/* Takes links over that worker 0 found changed. */
void ports_link_follow(struct ports_view *v, struct engine *e);
/* Whether frames of another worker wait to be sent by this one. */
bool ports_lent(const struct ports_view *v);
/* struct engine_env's rx and tx; ctx is the struct ports_view. */
uint16_t ports_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max);
uint16_t ports_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* memif.c */
bool memif_is(const char *device);
/* A client whose packet buffers are the ring's: the server reads and writes them where they are. */
bool memif_is_zero_copy(const char *device);
/* Whether it is the end that connects to the other, and has to do it again when that one was gone.
 */
bool memif_connects(const char *device);
/* Bytes of a ring buffer: the argument bsize= of the device, or room for a frame of so many bytes.
 */
uint32_t memif_buffer_bytes(const char *device, uint32_t frame);
/* The device with the arguments that it lacks, in out. */
void memif_device(const char *device, uint32_t frame, char *out, size_t size);
/* A killed engine leaves its server's socket file behind, and the driver will not take its place.
 */
void memif_socket_clear(const char *device);

/* Gives a network interface of this namespace the addresses that are set, and sets it up. */
int host_address_set(
	const char *iface, const struct config_address *v4, const struct config_address *v6);

#endif
