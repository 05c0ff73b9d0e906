// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Hooks of the kernel's security modules: that of getpgid(2), and one of exec that may sleep. */
#include "common.h"

__u64 calls = 0;
/* Whether getpgid(2) is denied. */
__u32 deny = 0;

SEC("lsm/task_getpgid")
int BPF_PROG(decides, void *task, int ret)
{
	if (ret || !is_ours())
		return ret;
	calls++;
	return deny ? -13 /* EACCES */ : 0;
}

/* Whether the execs of all processes count. */
__u32 armed = 0;
__u64 execs = 0;
__u64 copied = 0;

SEC("lsm.s/bprm_committed_creds")
int sleeps(void *ctx)
{
	/* Only a program that may sleep may call this; nothing is mapped at 0. */
	bpf_copy_from_user(&copied, sizeof(copied), 0);
	if (armed)
		execs++;
	return 0;
}
