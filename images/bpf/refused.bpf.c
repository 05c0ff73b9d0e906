// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a verifier does not take, beside what it does. */
#include "common.h"

SEC("fexit/filename_lookup")
int fine(void *ctx)
{
	return 0;
}

/* The function has five arguments and a return value: there is no twelfth word. */
SEC("fexit/filename_lookup")
int beyond(__u64 *ctx)
{
	return ctx[11] != 0;
}

/* Fine as well, but the verifier walks through every round of the loop, and says so. */
SEC("fexit/filename_lookup")
int lengthy(void *ctx)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < 800; i++)
		asm volatile("%0 += 2" : "+r"(sum));
	return 0;
}
