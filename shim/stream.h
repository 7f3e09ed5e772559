/* SPDX-License-Identifier: BSD-3-Clause */
/* Standard streams that are engine sockets; see stream.c. */
#ifndef CULVERT_SHIM_STREAM_H
#define CULVERT_SHIM_STREAM_H

/* Before main, when the program's first three descriptors may be engine sockets. */
void stream_standard(void);
/* An engine socket was duplicated onto 0, 1 or 2: stdin, stdout, stderr are its. */
void stream_follow(int fd);
/* At the program's end, while there is an engine inside it: what is in the streams' buffers goes out. */
void stream_flush(void);
/* Around fork: the child finds nothing half done. */
void stream_fork_prepare(void);
void stream_fork_done(void);

#endif
