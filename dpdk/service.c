/* SPDX-License-Identifier: BSD-3-Clause */
/* Starting an engine, part after part. */
#include "dpdk/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int service_start(struct service *s, bool verbose, char error[CONFIG_ERROR_BYTES])
{
	int code;

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
	if (worker_prepare(s, error) != 0)
		return 1;
	if (control_start(s) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no control thread: %s", strerror(errno));
		return 1;
	}
	return 0;
}
