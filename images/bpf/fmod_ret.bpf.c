// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that replace a function: one that may be, called by getpgid(2), and one that may not. */
#include "common.h"

__u64 calls = 0;
/* What getpgid(2) is to fail with; 0 lets the function run. */
__s32 answer = 0;
__u64 seen_cookie = 0;

SEC("fmod_ret/security_task_getpgid")
int BPF_PROG(replaces, void *task, int ret)
{
	if (!is_ours())
		return ret;
	calls++;
	return answer;
}

SEC("fmod_ret/security_task_getpgid")
int BPF_PROG(with_cookie, void *task, int ret)
{
	if (is_ours())
		seen_cookie = bpf_get_attach_cookie(ctx);
	return ret;
}

SEC("fmod_ret/vfs_open")
int not_modifiable(void *ctx)
{
	return 0;
}
