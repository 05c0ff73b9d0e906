// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Entry and exit of a function in one program (7.0), and one program on many functions (7.2). */
#include "common.h"

__u64 entries = 0, exits = 0;
__s32 entry_arg = 0, exit_arg = 0, exit_ret = 0;

extern _Bool bpf_session_is_return(void *ctx) __attribute__((section(".ksyms")));

SEC("fsession/bpf_fentry_test1")
int BPF_PROG(session, int a, int ret)
{
	if (bpf_session_is_return(ctx)) {
		exits++;
		exit_arg = a;
		exit_ret = ret;
	} else {
		entries++;
		entry_arg = a;
	}
	return 0;
}

__u64 calls = 0;

SEC("fexit.multi/bpf_fentry_test*")
int many(void *ctx)
{
	calls++;
	return 0;
}
