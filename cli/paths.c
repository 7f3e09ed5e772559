/* SPDX-License-Identifier: BSD-3-Clause */
/* Where libculvert.so and culvertd are. */
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Directory of this program, with the build tree's or the prefix's root one above. */
static bool own_directory(char dir[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return false;
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return false;
	*slash = '\0';
	return true;
}

static const char *find(char path[PATH_MAX], const char *const *relative, const char *installed)
{
	char dir[PATH_MAX];

	for (int i = 0; own_directory(dir) && relative[i] != NULL; i++) {
		char candidate[2 * PATH_MAX];

		snprintf(candidate, sizeof(candidate), "%s/%s", dir, relative[i]);
		if (access(candidate, R_OK) == 0 && realpath(candidate, path) != NULL)
			return path;
	}
	snprintf(path, PATH_MAX, "%s", installed);
	return access(path, R_OK) == 0 ? path : NULL;
}

const char *path_library(void)
{
	static const char *const relative[] = {
		"../shim/libculvert.so", "../" CULVERT_LIBDIR "/libculvert.so", NULL};
	static char path[PATH_MAX];

	return find(path, relative, CULVERT_PREFIX "/" CULVERT_LIBDIR "/libculvert.so");
}

const char *path_culvertd(void)
{
	static const char *const relative[] = {"../dpdk/culvertd", "../sbin/culvertd", NULL};
	static char path[PATH_MAX];

	return find(path, relative, CULVERT_PREFIX "/sbin/culvertd");
}
