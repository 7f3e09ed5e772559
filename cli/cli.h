/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The culvert command: what its subcommands share.
 *
 * Exit codes: 0 right, 1 the engine does not answer or a check failed, 2 wrong usage; `culvert run`: the
 * program's own, 126 and 127 as a shell's.
 */
#ifndef CULVERT_CLI_CLI_H
#define CULVERT_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Each subcommand: argv[0] is its name. Returns the exit code. */
int cli_run(int argc, char **argv);
int cli_ss(int argc, char **argv);
int cli_stat(int argc, char **argv);
int cli_doctor(int argc, char **argv);

/* engine.c */
/* NAME, or the path of a control socket (with a slash); NULL: CULVERT_ENGINE, then the default. */
const char *engine_choose(const char *name);
/* A connection to its control socket, or -errno. */
int engine_connect(const char *name);
/* 1: it answers and takes programs of this version; 0: it is not there, or just ending; -1: it refuses, and it has been said why. */
int engine_serves(const char *name);
/* A private engine does not end before this process, or the program that it becomes. */
void engine_hold(const char *name);
/* Asks "ss", "stat", ...: the answer to be decref'ed, or NULL after a line on stderr. */
json_t *engine_query(const char *name, const char *what);

/* paths.c: where the parts are: beside this program in a build tree, else where they were installed.
 * Static text, NULL when there is none. */
const char *path_library(void);
const char *path_culvertd(void);

/* Says it and where to look further; returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int usage_error(const char *command, const char *fmt, ...);

#endif
