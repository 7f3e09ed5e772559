/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration of an engine that was given none: a TAP, which needs no preparation. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpdk/config.h"

static const char text[] = "[engine]\n"
			   "name=%s\n"
			   "idle=adaptive\n"
			   "[port tap]\n"
			   "device=net_tap0,iface=culvert0\n"
			   "address=10.88.0.2/24\n"
			   "host_address=10.88.0.1/24\n";

int config_load_default(struct config *c, const char *name, char error[CONFIG_ERROR_BYTES])
{
	int fd = memfd_create("culvert-default", MFD_CLOEXEC), status = -1;
	char path[64];

	if (fd >= 0 && dprintf(fd, text, name) > 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		status = config_load(c, path, error);
		snprintf(c->path, sizeof(c->path), "the default configuration");
	} else {
		snprintf(error, CONFIG_ERROR_BYTES, "the default configuration: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return status;
}
