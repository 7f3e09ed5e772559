/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting an engine, part after part. */
#include "dpdk/service.h"
#include "dpdk/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int service_start(struct service *s, bool verbose, char error[CONFIG_ERROR_BYTES])
{
	int code;

	if (s->inside && s->config.workers > 1) {
		log_line(LOG_NOTICE, "workers=%u: an engine inside a program has one", s->config.workers);
		s->config.workers = 1;
	}
	if (control_listen(s, error) != 0)
		return 1;
	code = ports_eal_init(&s->config, s->inside, verbose, error);
	if (code != 0)
		return -code;
	if (ports_open(&s->ports, &s->config, error) != 0)
		return 2;
	if (page_make(s) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no memory for the page: %s", strerror(errno));
		return 1;
	}
	if (workers_prepare(s, error) != 0)
		return 1;
	if (control_start(s) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no control thread: %s", strerror(errno));
		return 1;
	}
	return workers_start(s, error) != 0 ? 1 : 0;
}
