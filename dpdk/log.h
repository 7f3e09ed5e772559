/* SPDX-License-Identifier: BSD-3-Clause */
/* One line a message: to stderr in the foreground, to syslog otherwise. Any thread, not workers'
 * packet paths. */
#ifndef CULVERT_DPDK_LOG_H
#define CULVERT_DPDK_LOG_H

#include <stdbool.h>
#include <syslog.h>

void log_to_syslog(bool yes);
__attribute__((format(printf, 2, 3))) void log_line(int priority, const char *fmt, ...);

#endif
