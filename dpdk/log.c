/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the engine's messages go. */
#include "dpdk/log.h"

#include <stdarg.h>
#include <stdio.h>

static void to_stderr(int priority, const char *line)
{
	(void)priority;
	fprintf(stderr, "culvertd: %s\n", line);
}

static void to_syslog(int priority, const char *line)
{
	syslog(priority, "%s", line);
}

static void (*sink)(int priority, const char *line) = to_stderr;

void log_to_syslog(void)
{
	openlog("culvertd", LOG_PID, LOG_DAEMON);
	sink = to_syslog;
}

void log_to(void (*to)(int priority, const char *line))
{
	sink = to;
}

void log_line(int priority, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sink(priority, line);
}
