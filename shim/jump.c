/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * longjmp: programs bound a call by an alarm whose handler jumps out of it. Such a call never returns, and what it holds would
 * stay held: a socket that is closed later would not end. All frames are still there when the jump is asked for.
 *
 * A handler may also jump within itself, and the call that it interrupted goes on: that one takes again what it lost
 * (wait_hold_end()). Owns: nothing. Called by: the program.
 */
#include "shim/real.h"
#include "shim/wait.h"

void shim_longjmp(struct __jmp_buf_tag env[1], int value)
{
	wait_holds_give();
	real_longjmp(env, value);
}

void shim___longjmp_chk(struct __jmp_buf_tag env[1], int value)
{
	wait_holds_give();
	real___longjmp_chk(env, value);
}
