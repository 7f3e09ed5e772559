/* SPDX-License-Identifier: BSD-3-Clause */
/* The list of interfaces: the kernel's, and the engine's behind it. Called by: descriptor.c; the calls with names of
 * their own (getifaddrs, if_nametoindex ...) by the program. */
#ifndef CULVERT_SHIM_INTERFACES_H
#define CULVERT_SHIM_INTERFACES_H

/* ioctl() of the kernel, which also knows of the engine's interfaces and addresses (netdevice(7)): -1 and errno. */
int interfaces_ioctl(int fd, unsigned long request, void *arg);

#endif
