/* SPDX-License-Identifier: BSD-3-Clause */
/* Standard streams that are engine sockets; see stream.c. */
#ifndef CULVERT_SHIM_STREAM_H
#define CULVERT_SHIM_STREAM_H

/* Before main, when the program's first three descriptors may be engine sockets. */
void stream_standard(void);
/* Around fork: the child finds nothing half done. */
void stream_fork_prepare(void);
void stream_fork_done(void);

#endif
