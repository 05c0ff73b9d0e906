// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Entry and exit of a function in one program (7.0), and one program on many functions (7.2). */
#include "common.h"

__u64 entries = 0, exits = 0;
__s32 entry_arg = 0, exit_arg = 0, exit_ret = 0;
__u64 cookie = 0;

extern _Bool bpf_session_is_return(void *ctx) __attribute__((section(".ksyms")));

/* The program's name is a suffix of the section's name: they share bytes of the string table. */
SEC("fsession")
int BPF_PROG(session, int a, int ret)
{
	cookie = bpf_get_attach_cookie(ctx);
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
	cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

__u64 many_entries = 0, many_exits = 0;

SEC("fsession.multi/bpf_fentry_test*")
int session_many(void *ctx)
{
	if (bpf_session_is_return(ctx))
		many_exits++;
	else
		many_entries++;
	cookie = bpf_get_attach_cookie(ctx);
	return 0;
}
