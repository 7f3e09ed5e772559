/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers' callbacks that the worker runs between two turns, in the place of EAL's interrupt thread.
 *
 * The memif driver of DPDK 22.11 speaks with its peer in that thread. When the peer goes, the thread takes the ring's
 * memory away under a worker that is in it; when both go, it frees what rte_eth_dev_stop() is just freeing. Here
 * everything that a memif does, one thread does after the other.
 *
 * Owns: which callbacks these are, their descriptors, the order of their end. Does not own: EAL's own callbacks, which
 * its thread runs on; the names that drivers call (driver_calls.c).
 * Called by: drivers, when they are started, stopped or in a callback; ports.c. All on the worker, or while none runs.
 */
#ifndef CULVERT_DPDK_CALLBACKS_H
#define CULVERT_DPDK_CALLBACKS_H

#include <rte_interrupts.h>

/* A descriptor that is readable when a callback is due, or -errno. Before the first device is made. */
int callbacks_start(void);
/* Runs what is due; how many. */
unsigned callbacks_run(void);
void callbacks_stop(void);

/* EAL's three calls (rte_interrupts.h), for those callbacks that are ours: -ENOTSUP for one that is not. */
int callbacks_register(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg);
int callbacks_unregister(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg);
int callbacks_unregister_pending(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg,
	rte_intr_unregister_callback_fn ended);

#endif
