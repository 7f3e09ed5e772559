/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that may pass each other sockets before any of them has one of the engine's; see family.c. */
#ifndef CULVERT_SHIM_FAMILY_H
#define CULVERT_SHIM_FAMILY_H

#define FAMILY_ENV "CULVERT_FAMILY"

/* CV_FAMILY_BYTES that name this process' family (not a string); NULL: it has none. */
const char *family_name(void);

#endif
