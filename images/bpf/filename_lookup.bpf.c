// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The documentation's example: what a path lookup was asked, and what it answered. */
#include "common.h"

__u64 calls = 0;
__s32 seen_dfd = 0;
__u32 seen_flags = 0;
__u32 seen_root = 0;
__u64 seen_inode = 0;
__s32 seen_ret = 0;

/* `name` is not looked into: before 5.15 the function has freed it by the time it returns. */
SEC("fexit/filename_lookup")
int BPF_PROG(filename_lookup, int dfd, struct filename *name, unsigned int flags, struct path *path,
	     struct path *root, int ret)
{
	if (!is_ours())
		return 0;
	calls++;
	seen_dfd = dfd;
	seen_flags = flags;
	seen_root = root != NULL;
	/* `path` is where the function puts what it found, so it is filled in on success only. */
	seen_inode = ret ? 0 : path->dentry->d_inode->i_ino;
	seen_ret = ret;
	return 0;
}
