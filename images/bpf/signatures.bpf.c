// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Functions that take more than six arguments, and a struct by value. */
#include "common.h"

__u64 futex_calls = 0;
__s32 futex_op = 0;
__u32 futex_val = 0, futex_val3 = 0;
__s64 futex_ret = 0;

/* The seventh argument is the first that is not in a register. */
SEC("fexit/do_futex")
int BPF_PROG(seven, __u32 *address, int op, __u32 val, void *timeout, __u32 *address2, __u32 val2,
	     __u32 val3, long ret)
{
	if (!is_ours())
		return 0;
	futex_calls++;
	futex_op = op;
	futex_val = val;
	futex_val3 = val3;
	futex_ret = ret;
	return 0;
}

__u64 map_calls = 0, map_address = 0, map_length = 0, map_page = 0, map_ret = 0, map_behind = 0;

/* Nine arguments, as the function has from 6.6 on; before, such a target is refused anyway. */
SEC("fexit/do_mmap")
int nine(__u64 *ctx)
{
	if (!is_ours())
		return 0;
	map_calls++;
	map_address = ctx[1];
	map_length = ctx[2];
	map_page = ctx[6];
	map_behind = ctx[7] != 0 && ctx[8] != 0;
	map_ret = ctx[9];
	return 0;
}

__u64 option_calls = 0;
__s32 option_level = 0, option_name = 0, option_value = 0, option_length = 0, option_ret = -1;
__u64 option_in_kernel = 1;

/* The fourth argument, `sockptr_t`, is a struct of sixteen bytes: it takes two slots. */
SEC("fexit/tcp_setsockopt")
int wide(__u64 *ctx)
{
	if (!is_ours())
		return 0;
	option_calls++;
	option_level = ctx[1];
	option_name = ctx[2];
	bpf_probe_read_user(&option_value, sizeof(option_value), (void *)ctx[3]);
	option_in_kernel = ctx[4] & 1;
	option_length = ctx[5];
	option_ret = ctx[6];
	return 0;
}

__u32 seen_gid = 0;
__s32 is_member = 0;

/* `kgid_t` is a struct with one integer. */
SEC("fexit/in_group_p")
int BPF_PROG(by_value, __u32 gid, int ret)
{
	if (!is_ours())
		return 0;
	seen_gid = gid;
	is_member = ret;
	return 0;
}
