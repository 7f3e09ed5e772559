/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the engine's messages go. */
#include "dpdk/log.h"

#include <stdarg.h>
#include <stdio.h>

static bool to_syslog;

void log_to_syslog(bool yes)
{
	if (yes && !to_syslog)
		openlog("culvertd", LOG_PID, LOG_DAEMON);
	to_syslog = yes;
}

void log_line(int priority, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (to_syslog) {
		vsyslog(priority, fmt, ap);
	} else {
		char line[1024];
		vsnprintf(line, sizeof(line), fmt, ap);
		fprintf(stderr, "culvertd: %s\n", line);
	}
	va_end(ap);
}
