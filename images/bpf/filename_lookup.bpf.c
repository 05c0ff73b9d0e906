// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The documentation's example: the arguments and the result of a path lookup. */
#include "common.h"

__u64 calls = 0;
__s32 seen_dfd = 0;
__u32 seen_flags = 0;
__u32 seen_root = 0;
__u64 seen_inode = 0;
__s32 seen_ret = 0;

/*
 * int filename_lookup(int dfd, struct filename *name, unsigned flags, struct path *path, struct path *root)
 *
 * `name` is not dereferenced: before 5.15 the function has freed it by the time it returns. The arguments are read after
 * the call of a helper: kept over it they may be put on the stack, and 5.5 forgets there what a pointer points to.
 */
SEC("fexit/filename_lookup")
int filename_lookup(__u64 *ctx)
{
	struct path *path;
	int ret;

	if (!is_ours())
		return 0;
	path = (struct path *)ctx[3];
	ret = ctx[5];
	/* `path` is where the function puts what it found, so it is filled in on success only. */
	seen_inode = ret ? 0 : path->dentry->d_inode->i_ino;
	seen_ret = ret;
	seen_dfd = ctx[0];
	seen_flags = ctx[2];
	seen_root = ctx[4] != 0;
	calls++;
	return 0;
}
