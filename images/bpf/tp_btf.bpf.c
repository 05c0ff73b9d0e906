// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The tracepoint that all system calls pass, and one of a module. */
#include "common.h"

__u64 calls = 0;
/* The number of the system call that counts. */
__s64 number = -1;
__u64 seen_cookie = 0;

SEC("tp_btf/sys_enter")
int BPF_PROG(enters, void *regs, long id)
{
	if (is_ours() && id == number)
		calls++;
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(with_cookie, void *regs, long id)
{
	if (is_ours() && id == number)
		seen_cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

__u32 seen_zones = 0;

/* A tracepoint of module null_blk: the zones of a device are read, as when it is turned on. */
SEC("tp_btf/nullb_report_zones")
int BPF_PROG(reports, void *nullb, unsigned int zones)
{
	if (is_ours()) {
		calls++;
		seen_zones = zones;
	}
	return 0;
}
