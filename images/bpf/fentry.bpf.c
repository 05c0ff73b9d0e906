// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The entry of a function, seen alone, together with its exit, with a cookie, and of many functions. */
#include "common.h"

__u64 calls = 0, exits = 0;
__s32 seen_dfd = 0;
__u32 seen_flags = 0;
/* How many exits there were at the last entry: an entry comes before its own exit. */
__u64 exits_at_entry = 0;

SEC("fentry/filename_lookup")
int BPF_PROG(entry, int dfd, struct filename *name, unsigned int flags)
{
	if (!is_ours())
		return 0;
	seen_dfd = dfd;
	seen_flags = flags;
	exits_at_entry = exits;
	calls++;
	return 0;
}

SEC("fexit/filename_lookup")
int leave(void *ctx)
{
	if (is_ours())
		exits++;
	return 0;
}

__u64 seen_cookie = 0;

SEC("fentry/filename_lookup")
int with_cookie(void *ctx)
{
	if (is_ours())
		seen_cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

__u64 calls_of_many = 0;

SEC("fentry.multi/bpf_fentry_test*")
int many(void *ctx)
{
	calls_of_many++;
	return 0;
}

__u64 calls_of_subprogram = 0;
__s32 seen_len = 0;

/* Loaded for a subprogram of xdp_target.bpf.c. */
SEC("fentry")
int BPF_PROG(on_shifted, int len)
{
	calls_of_subprogram++;
	seen_len = len;
	return 0;
}
