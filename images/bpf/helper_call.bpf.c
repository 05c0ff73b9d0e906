// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A call of a helper; the scenario replaces its number. Its arguments are missing, for which the verifier has another
 * message than for an unknown helper. */
#include "common.h"

SEC("fexit/filename_lookup")
int caller(void *ctx)
{
	asm volatile("call 195948557" ::: "r0", "r1", "r2", "r3", "r4", "r5"); /* 0xbadf00d */
	return 0;
}
