// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A call of a helper whose number is put in before it is loaded. What the helper wants is not there: that is refused too,
 * but in other words than a helper that there is not. */
#include "common.h"

SEC("fexit/filename_lookup")
int caller(void *ctx)
{
	asm volatile("call 195948557" ::: "r0", "r1", "r2", "r3", "r4", "r5"); /* 0xbadf00d */
	return 0;
}
