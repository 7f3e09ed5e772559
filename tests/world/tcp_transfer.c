/* SPDX-License-Identifier: BSD-3-Clause */
/* Two engines and a bad link (transfer.h): loss, delay, doubling, reordering and damage; users who read and write
 * in every way, or go away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/world/transfer.h"

/* --- links --------------------------------------------------------------------------------------- */

static void perfect_link__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = MS}, .bytes = 5000000, .bound_s = 10}, 1, 3);
	transfers(&(struct plan){.link = {.delay_ns = 0}, .bytes = 5000000, .bound_s = 10}, 4, 2);
	transfers(&(struct plan){.link = {.delay_ns = 100 * MS}, .bytes = 2000000, .bound_s = 20}, 6, 2);
}

static void one_byte_and_nothing__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = MS}, .bytes = 1, .bound_s = 3}, 1, 2);
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 200}, .bytes = 2, .bound_s = 200}, 10, 20);
}

static void loss_of_1_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 10}, .bytes = 2000000, .bound_s = 60}, 20, 8);
}

static void loss_of_5_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 50}, .bytes = 1000000, .bound_s = 120}, 40, 8);
}

/* What is lost again waits for the timer, which doubles; a SYN that was lost makes its first value 3 s (RFC6298:5.7),
 * and the ACK of the first data that was lost a round trip as long (RFC7323:4.1). Nearly all are over in 20 s. */
static void loss_of_20_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 20 * MS, .loss = 200}, .bytes = 100000, .bound_s = 240}, 60, 40);
}

static void reordered__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .reorder = 100, .reorder_ns = 3 * MS},
			  .bytes = 2000000, .bound_s = 60},
		80, 6);
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .reorder = 300, .reorder_ns = 40 * MS},
			  .bytes = 1000000, .bound_s = 120},
		90, 4);
}

static void duplicated__transfer__arrives_once(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .duplicate = 300}, .bytes = 2000000, .bound_s = 60},
		100, 6);
}

static void corrupted__transfer__arrives_undamaged(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .corrupt = 50}, .bytes = 1000000, .bound_s = 120},
		120, 6);
}

static void everything_at_once__many_seeds__arrives(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .loss = 50, .reorder = 100, .reorder_ns = 9 * MS,
					  .duplicate = 50, .corrupt = 20},
		.bytes = 300000, .bound_s = 300};

	(void)state;
	transfers(&plan, 1000, 40);
}

/* --- users ---------------------------------------------------------------------------------------- */

static void small_receive_buffer__transfer__arrives(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS, .loss = 20}, .bytes = 300000, .bound_s = 300, .rcvbuf = 4096};

	(void)state;
	transfers(&plan, 200, 4);
	plan.rcvbuf = 20000;
	transfers(&plan, 210, 4);
}

static void slow_reader__zero_windows__arrives(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS}, .bytes = 200000, .bound_s = 300, .rcvbuf = 8192, .read_most = 300};

	(void)state;
	transfers(&plan, 220, 4);
	plan.link.loss = 50;
	plan.bound_s = 900;
	transfers(&plan, 230, 6);
}

static void tiny_writes__nodelay_and_nagle__arrive(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS, .loss = 20}, .bytes = 30000, .bound_s = 300, .write_most = 20,
		.queue = 3000};

	(void)state;
	transfers(&plan, 240, 4);
	plan.nodelay = true;
	transfers(&plan, 250, 4);
}

/* Somebody lets go at any moment, with or without a reset: the other side gets a part, or all, and
 * everything ends. */
static void closes_at_random__every_socket_ends(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 2 * MS, .loss = 50, .reorder = 100, .reorder_ns = 5 * MS,
					  .duplicate = 20},
		.bytes = 200000, .bound_s = 300};

	(void)state;
	for (uint64_t seed = 3000; seed < 3100; seed++) {
		struct run *r = run_new(&plan, seed);
		uint32_t steps = run_draw(r, 120), who = run_draw(r, 3);
		bool abort = run_draw(r, 2) == 0;

		for (uint32_t i = 0; i < steps && !run_done(r); i++)
			run_step(r);
		if (who != 1)
			side_close(&r->client, abort);
		if (who != 0)
			side_close(&r->server, abort);
		if (who == 2 && run_draw(r, 2) == 0)
			world_run(r->w, run_draw(r, 1000) * MS, NULL, NULL);
		run_end(r);
	}
}

/* --- determinism ---------------------------------------------------------------------------------- */

static void same_seed__same_frames__other_seed__others(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .loss = 30, .reorder = 50, .reorder_ns = 9 * MS,
					  .duplicate = 20, .corrupt = 10},
		.bytes = 300000, .bound_s = 300};
	uint64_t one = transfer(&plan, 5), again = transfer(&plan, 5), other = transfer(&plan, 6);

	(void)state;
	assert_true(one == again);
	assert_true(one != other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(perfect_link__transfer__arrives),
		cmocka_unit_test(one_byte_and_nothing__transfer__arrives),
		cmocka_unit_test(loss_of_1_percent__transfer__arrives),
		cmocka_unit_test(loss_of_5_percent__transfer__arrives),
		cmocka_unit_test(loss_of_20_percent__transfer__arrives),
		cmocka_unit_test(reordered__transfer__arrives),
		cmocka_unit_test(duplicated__transfer__arrives_once),
		cmocka_unit_test(corrupted__transfer__arrives_undamaged),
		cmocka_unit_test(everything_at_once__many_seeds__arrives),
		cmocka_unit_test(small_receive_buffer__transfer__arrives),
		cmocka_unit_test(slow_reader__zero_windows__arrives),
		cmocka_unit_test(tiny_writes__nodelay_and_nagle__arrive),
		cmocka_unit_test(closes_at_random__every_socket_ends),
		cmocka_unit_test(same_seed__same_frames__other_seed__others),
	};

	world_eal_init("tcp_transfer");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
