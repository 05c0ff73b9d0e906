// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* __kconfig variables, which the loader fills in. */
#include "common.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
extern int LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern int CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_TUN __kconfig __weak;
extern char CONFIG_BPF_JIT __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern _Bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern int CONFIG_NO_SUCH_STRONG_OPTION __kconfig;

__u64 calls, version, cookie, wrapper, bpf_syscall, hz, tun, jit, none;
char hostname[16];

SEC("fexit/filename_lookup")
int kconfig(void *ctx)
{
	if (!is_ours())
		return 0;
	version = LINUX_KERNEL_VERSION;
	cookie = LINUX_HAS_BPF_COOKIE;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	bpf_syscall = CONFIG_BPF_SYSCALL;
	hz = CONFIG_HZ;
	tun = CONFIG_TUN;
	jit = CONFIG_BPF_JIT;
	none = CONFIG_NO_SUCH_OPTION;
	for (int i = 0; i < (int)sizeof(hostname); i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	calls++;
	return 0;
}

/* Cannot be loaded; the other program can. */
SEC("?fexit/filename_lookup")
int strong(void *ctx)
{
	hz = CONFIG_NO_SUCH_STRONG_OPTION;
	return 0;
}
