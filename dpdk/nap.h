/* SPDX-License-Identifier: BSD-3-Clause */
/* How long an idle worker sleeps before it looks at a device that cannot wake it: see worker.c. */
#ifndef CULVERT_DPDK_NAP_H
#define CULVERT_DPDK_NAP_H

#include <stdint.h>

#define NAP_LEAST_NS 10000ull
#define NAP_MOST_NS 1000000ull
#define NAP_SHARE 8u

/* What comes again after a while waits for an eighth of that while: in a request and answer of many connections at
 * once, both sides' pauses are a few ms long. */
static inline uint64_t nap_ns(uint64_t idle_ns)
{
	uint64_t nap = idle_ns / NAP_SHARE;

	return nap < NAP_LEAST_NS ? NAP_LEAST_NS : nap > NAP_MOST_NS ? NAP_MOST_NS : nap;
}

#endif
