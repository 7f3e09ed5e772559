/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of DPDK's that come to us; see driver_calls.c. */
#ifndef CULVERT_DPDK_DRIVER_CALLS_H
#define CULVERT_DPDK_DRIVER_CALLS_H

/* Just before rte_eal_init(): its first sleep is for measuring. */
void driver_calls_begin(void);

#endif
