// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A function with a pointer, a 32-bit and two 64-bit arguments, all chosen by the caller. */
#include "common.h"

__u64 calls = 0;
__u64 seen_inode = 0;
__s32 seen_mode = 0;
__s64 seen_offset = 0;
__s64 seen_len = 0;
__s32 seen_ret = 0;

SEC("fexit/vfs_fallocate")
int BPF_PROG(vfs_fallocate, struct file *file, int mode, long long offset, long long len, int ret)
{
	if (!is_ours())
		return 0;
	calls++;
	seen_inode = file->f_inode->i_ino;
	seen_mode = mode;
	seen_offset = offset;
	seen_len = len;
	seen_ret = ret;
	return 0;
}
