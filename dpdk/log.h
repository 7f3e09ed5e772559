/* SPDX-License-Identifier: BSD-3-Clause */
/* One line a message: to stderr in the foreground, to syslog in the background, to the program's side inside
 * one. Any thread, not workers' packet paths. */
#ifndef CULVERT_DPDK_LOG_H
#define CULVERT_DPDK_LOG_H

#include <syslog.h>

void log_to_syslog(void);
void log_to(void (*to)(int priority, const char *line));
__attribute__((format(printf, 2, 3))) void log_line(int priority, const char *fmt, ...);

#endif
