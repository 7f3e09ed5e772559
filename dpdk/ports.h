/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The EAL and the devices of an engine.
 *
 * Owns: EAL arguments, packet pools, ethdev set-up, the kernel's end of a TAP. Does not own: what the
 * stack does with frames.
 * Called by: service.c when an engine starts and ends; the worker for rx, tx and waiting.
 */
#ifndef CULVERT_DPDK_PORTS_H
#define CULVERT_DPDK_PORTS_H

#include <stdatomic.h>

#include "dpdk/config.h"
#include "stack/core/engine.h"

struct ports_port {
	const struct config_port *config;
	struct port stack; /* as the stack sees it */
	uint16_t ethdev;
	int rx_fd;         /* readable when a frame waits; -1: the driver has none */
	bool tap;
	bool connects;             /* a memif's client: */
	bool waits_for_peer;       /* not started, its server is not there; */
	uint64_t started_ns;       /* else when it was, about; 0: just now */
	bool one_segment;          /* it cannot send chains */
	bool offloads;             /* it fills in checksums or cuts */
	bool link_told;            /* the driver says when the link changes */
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
	uint16_t n, vlans_n;
	struct rte_mempool *pool;
	int callbacks_fd; /* readable when a driver's callback is due (callbacks.h) */
	struct ports_port port[CONFIG_PORTS_MAX];
	struct ports_vlan vlan[CONFIG_SECTIONS_MAX];
};

/* Starts the EAL as the configuration says; the calling thread becomes worker 0. inside: in a program's process,
 * without files and threads that only other processes need. Decides hugepages=auto. 0, or with one line in error -1 (it does not start)
 * or -2 (the configuration asks for what is not there). */
int ports_eal_init(struct config *c, bool inside, bool noise, char error[CONFIG_ERROR_BYTES]);
/* Makes, configures and starts the devices. 0, or -1 with one line in error (FILE:LINE: ...). */
int ports_open(struct ports *p, const struct config *c, char error[CONFIG_ERROR_BYTES]);
void ports_close(struct ports *p);
/* Gives an engine the ports, their VLANs and the configured routes. As ports_open(). */
int ports_engine_add(struct ports *p, struct engine *e, const struct config *c, char error[CONFIG_ERROR_BYTES]);
/* Runs drivers' callbacks that are due; how many. Often, on the worker. */
uint32_t ports_callbacks(struct ports *p);
/* Looks at links that may have changed and tells the engine. Now and then, on the worker, and after callbacks. */
void ports_link_look(struct ports *p, struct engine *e);
/* struct engine_env's rx and tx; ctx is the struct ports. */
uint16_t ports_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max);
uint16_t ports_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n);

/* memif.c */
bool memif_is(const char *device);
/* A client whose packet buffers are the ring's: the server reads and writes them where they are. */
bool memif_is_zero_copy(const char *device);
/* Whether it is the end that connects to the other, and has to do it again when that one was gone. */
bool memif_connects(const char *device);
/* Bytes of a ring buffer: the argument bsize= of the device, or room for a frame of so many bytes. */
uint32_t memif_buffer_bytes(const char *device, uint32_t frame);
/* The device with the arguments that it lacks, in out. */
void memif_device(const char *device, uint32_t frame, char *out, size_t size);
/* A killed engine leaves its server's socket file behind, and the driver will not take its place. */
void memif_socket_clear(const char *device);

/* Gives a network interface of this namespace the addresses that are set, and sets it up. */
int host_address_set(const char *iface, const struct config_address *v4,
	const struct config_address *v6);

#endif
