// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A function of the module tun, which runs when /dev/net/tun is opened. */
#include "common.h"

__u64 calls = 0;
__u64 seen_inode = 0;
__s32 seen_ret = 0;

SEC("fexit/tun:tun_chr_open")
int BPF_PROG(module_target, struct inode *inode, struct file *file, int ret)
{
	if (!is_ours())
		return 0;
	calls++;
	seen_inode = inode->i_ino;
	seen_ret = ret;
	return 0;
}
