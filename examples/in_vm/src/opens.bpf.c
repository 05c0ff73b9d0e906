// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Counts the files that a process opens, and the opens that fail. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 tgid = 0;
__u64 opened = 0;
__u64 failed = 0;

/* long do_sys_openat2(int dfd, const char *filename, struct open_how *how) */
SEC("fexit/do_sys_openat2")
int opens(__u64 *ctx)
{
	long ret = ctx[3];

	if (bpf_get_current_pid_tgid() >> 32 != tgid)
		return 0;
	if (ret < 0)
		failed++;
	else
		opened++;
	return 0;
}

char _license[] SEC("license") = "GPL";
