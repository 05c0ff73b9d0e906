// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Sleepable programs: they copy from user space, which may fault a page in. */
#include "common.h"

/* The address in user space. */
__u64 source = 0;

__u64 calls = 0;
__s64 result = -1;
char copied[16] = {};

static __always_inline int copy(void)
{
	if (!is_ours())
		return 0;
	calls++;
	result = bpf_copy_from_user(copied, sizeof(copied), (void *)source);
	return 0;
}

SEC("fexit.s/bpf_fentry_test1")
int sleepable(void *ctx)
{
	return copy();
}

SEC("fentry.s/bpf_fentry_test1")
int enters(void *ctx)
{
	return copy();
}

/* It lets the function run. */
SEC("fmod_ret.s/bpf_fentry_test1")
int replaces(void *ctx)
{
	return copy();
}
