/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Included by every program here. The kernel's types are declared only with the fields that a program reads:
 * CO-RE relocates them.
 */
#ifndef COMMON_H
#define COMMON_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define KERNEL_TYPE __attribute__((preserve_access_index))

struct filename;

struct inode {
	unsigned long i_ino;
} KERNEL_TYPE;

struct dentry {
	struct inode *d_inode;
} KERNEL_TYPE;

struct path {
	struct dentry *dentry;
} KERNEL_TYPE;

struct file {
	struct inode *f_inode;
} KERNEL_TYPE;

/* The process whose calls count: other tasks of the VM call the same functions. */
__u32 tgid = 0;

static __always_inline int is_ours(void)
{
	return bpf_get_current_pid_tgid() >> 32 == tgid;
}

char _license[] SEC("license") = "GPL";

#endif
