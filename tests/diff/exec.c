/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets over exec, posix_spawn, vfork, system and popen: what the new program finds, and what its parent keeps
 * (execve(2), posix_spawn(3)). */
#include <spawn.h>

#include "tests/diff/diff.h"

extern char **environ;

/* The child has the connection, and gives back what it reads to its end. */
static void echoes(int client, pid_t child)
{
	char text[6];

	for (int i = 0; i < 3; i++) {
		diff_write_all(client, "hello!", 6);
		diff_read_all(client, text, 6);
		same_bytes(text, "hello!", 6);
	}
	works(shutdown(client, SHUT_WR));
	diff_ended(client);
	diff_join(child);
}

/* become: execs cat. */
static void inherited_by_cat(void (*become)(void))
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		dup2(server, 0);
		dup2(server, 1);
		become();
		_exit(127);
	}
	works(close(server));
	echoes(client, child);
}

static void cat_by_name(void)
{
	execlp("cat", "cat", NULL);
}

CASE(exec__inherited_connection__the_new_program_uses_it)
{
	inherited_by_cat(cat_by_name);
}

static char *const cat_words[] = {"cat", NULL};

static void cat_in_a_directory(void)
{
	execveat(open("/bin", O_PATH | O_CLOEXEC), "cat", cat_words, environ, 0);
}

static void cat_by_descriptor(void)
{
	execveat(open("/bin/cat", O_PATH | O_CLOEXEC), "", cat_words, environ, AT_EMPTY_PATH);
}

CASE(execveat__inherited_connection__the_new_program_uses_it)
{
	inherited_by_cat(cat_in_a_directory);
	inherited_by_cat(cat_by_descriptor);
	fails(execveat(-1, "cat", cat_words, environ, 0), EBADF);
}

CASE(exec__cloexec__closed)
{
	int client, server;

	diff_pair(&client, &server);
	works(fcntl(server, F_SETFD, FD_CLOEXEC));
	works(fcntl(client, F_SETFD, FD_CLOEXEC));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	works(close(server));
	/* The child runs on with other things; the connection ended with its last holder. */
	diff_ended(client);
	works(kill(child, SIGKILL));
}

CASE(exec__data_unread_before__is_there_after)
{
	int client, server;
	char text[10];

	diff_pair(&client, &server);
	diff_write_all(client, "before", 6);
	is(diff_readable(server, 3000));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		dup2(server, 0);
		dup2(server, 1);
		execlp("head", "head", "-c", "10", NULL);
		_exit(127);
	}
	works(close(server));
	diff_write_all(client, "next", 4);
	diff_read_all(client, text, 10);
	same_bytes(text, "beforenext", 10);
	diff_join(child);
}

CASE(exec__listener_inherited__the_new_program_accepts)
{
	/* The shell and its child see the listener under the number 5; nc-like programs are not at hand, so
	 * python accepts on it. */
	int listener = diff_listen(0, 0, 8), client;
	char text[3];

	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		dup2(listener, 55);
		execlp("python3", "python3", "-c",
			"import socket\ns = socket.socket(fileno=55)\nc, _ = s.accept()\nc.sendall(b'yes')", NULL);
		_exit(127);
	}
	client = diff_connect(listener);
	works(close(listener));
	diff_read_all(client, text, 3);
	same_bytes(text, "yes", 3);
	diff_join(child);
	diff_ended(client);
}

/* A program that takes a descriptor from the Unix socket that is its standard input, and echoes what comes there. */
static char *const takes_one[] = {"python3", "-c",
	"import socket\n"
	"pair = socket.socket(fileno=0)\n"
	"s = socket.socket(fileno=socket.recv_fds(pair, 1, 1)[1][0])\n"
	"while data := s.recv(100): s.sendall(data)\n",
	NULL};

static void exec_takes_one(int pair)
{
	dup2(pair, 0);
	execvp(takes_one[0], takes_one);
	_exit(127);
}

/* The parent has no socket yet when the children begin, as Node's cluster. */
static void given_later(int pair, pid_t child)
{
	int client, server;

	diff_pair(&client, &server);
	diff_pass(pair, server);
	works(close(server));
	echoes(client, child);
}

CASE(exec__before_the_first_socket__one_is_passed)
{
	int pair[2];

	works(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t child = (pid_t)works(fork());
	if (child == 0)
		exec_takes_one(pair[1]);
	given_later(pair[0], child);
}

CASE(posix_spawn__before_the_first_socket__one_is_passed)
{
	posix_spawn_file_actions_t actions;
	int pair[2];
	pid_t child;

	works(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	same(posix_spawn_file_actions_init(&actions), 0);
	same(posix_spawn_file_actions_adddup2(&actions, pair[1], 0), 0);
	same(posix_spawnp(&child, takes_one[0], &actions, NULL, takes_one, environ), 0);
	given_later(pair[0], child);
}

/* The parent listens, its child accepts: neither is the other's parent in what they have with the engine. */
CASE(exec__before_the_first_socket__child_has_one_of_its_own__takes_the_parents_too)
{
	static char *const connects_and_takes[] = {"python3", "-c",
		"import os, socket\n"
		"pair = socket.socket(fileno=0)\n"
		"port = int(pair.recv(10))\n"
		"mine = socket.create_connection((os.environ.get('DIFF_ADDR', '127.0.0.1'), port))\n"
		"pair.sendall(b'.')\n"
		"listener = socket.socket(fileno=socket.recv_fds(pair, 1, 1)[1][0])\n"
		"theirs, _ = listener.accept()\n"
		"mine.sendall(b'a'); theirs.sendall(theirs.recv(1) + b'b'); print(mine.recv(2))\n",
		NULL};
	int pair[2], listener;
	char text[16];

	works(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		dup2(pair[1], 0);
		execvp(connects_and_takes[0], connects_and_takes);
		_exit(127);
	}
	listener = diff_listen(0, 0, 5);
	diff_write_all(pair[0], text, (size_t)snprintf(text, sizeof(text), "%u", diff_port(listener)));
	diff_read_all(pair[0], text, 1);
	diff_pass(pair[0], listener);
	works(close(listener));
	diff_join(child);
}

CASE(exec__environment_cleaned__descriptors_still_harmless)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		char *none[] = {NULL};
		char *words[] = {"true", NULL};
		works(close(client));
		execve("/bin/true", words, none);
		_exit(127);
	}
	diff_join(child);
	diff_not_ended(client);
	diff_ping(client, server);
}

CASE(posix_spawn__file_actions__connection_as_standard_streams)
{
	int client, server;
	pid_t child;
	posix_spawn_file_actions_t actions;
	char *words[] = {"cat", NULL};

	diff_pair(&client, &server);
	same(posix_spawn_file_actions_init(&actions), 0);
	same(posix_spawn_file_actions_adddup2(&actions, server, 0), 0);
	same(posix_spawn_file_actions_adddup2(&actions, server, 1), 0);
	same(posix_spawn_file_actions_addclose(&actions, client), 0);
	same(posix_spawn_file_actions_addclose(&actions, server), 0);
	same(posix_spawnp(&child, "cat", &actions, NULL, words, environ), 0);
	works(close(server));
	echoes(client, child);
}

CASE(posix_spawn__signal_mask__the_callers)
{
	char *words[] = {"grep", "-q", "^SigBlk:\t0000000000000000$", "/proc/self/status", NULL};
	int client, server, status;
	sigset_t none;
	pid_t child;

	diff_pair(&client, &server);
	sigemptyset(&none);
	same(pthread_sigmask(SIG_SETMASK, &none, NULL), 0);
	same(posix_spawnp(&child, "grep", NULL, NULL, words, environ), 0);
	same(waitpid(child, &status, 0), child);
	same(status, 0);
}

CASE(system_and_popen__with_sockets_open__nothing_happens_to_them)
{
	int client, server;
	char line[16] = "";

	diff_pair(&client, &server);
	same(system("true"), 0);
	diff_ping(client, server);
	FILE *pipe = popen("echo word", "r");
	is(pipe != NULL);
	is(fgets(line, sizeof(line), pipe) != NULL);
	same(strcmp(line, "word\n"), 0);
	same(pclose(pipe), 0);
	diff_ping(server, client);
}

CASE(vfork_exec__with_sockets_open)
{
	int client, server;

	diff_pair(&client, &server);
	for (int i = 0; i < 5; i++) {
		pid_t child = vfork();
		if (child == 0) {
			execlp("true", "true", NULL);
			_exit(127);
		}
		works(child);
		diff_join(child);
		diff_ping(client, server);
		diff_ping(server, client);
	}
}
