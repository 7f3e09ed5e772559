/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine's module (stack/api/inline.h) of another version: it starts, and says which it is. */
#include "stack/api/inline.h"

__attribute__((visibility("default"))) cv_inline_start culvert_inline_start;

int culvert_inline_start(const struct cv_inline_host *host, const char *config, struct cv_inline_engine *engine,
	char error[CV_INLINE_ERROR_BYTES])
{
	(void)host;
	(void)config;
	(void)error;
	*engine = (struct cv_inline_engine){.version = UINT32_MAX};
	return 0;
}
