// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Types of the module tun, which are not in the BTF of vmlinux. */
#include "common.h"
#include <bpf/bpf_core_read.h>

/* A type of vmlinux, embedded in a struct of the module. */
struct socket {
	struct file *file;
} KERNEL_TYPE;

struct tun_file {
	struct socket socket;
} KERNEL_TYPE;

/* The same struct in a version that never existed. */
struct tun_file___never {
	int no_such_field;
} KERNEL_TYPE;

struct file___opened {
	void *private_data;
} KERNEL_TYPE;

__u64 calls = 0;
/* struct tun_file contains its socket. */
__u64 opened = 0, opened_by_socket = 0;
__u64 type_size = 0;
__s32 has_socket = -1, has_no_such_field = -1;

static __always_inline void look_into(struct file *file)
{
	struct tun_file *tun = ((struct file___opened *)file)->private_data;

	calls++;
	opened = (__u64)file;
	opened_by_socket = (__u64)BPF_CORE_READ(tun, socket.file);
	type_size = bpf_core_type_size(struct tun_file);
	has_socket = bpf_core_field_exists(tun->socket);
	has_no_such_field = bpf_core_field_exists(((struct tun_file___never *)tun)->no_such_field);
}

SEC("fexit/tun:tun_chr_open")
int BPF_PROG(of_module, struct inode *inode, struct file *file, int ret)
{
	if (is_ours())
		look_into(file);
	return 0;
}

/* A function of vmlinux that opens any file. */
SEC("fexit/vfs_open")
int BPF_PROG(of_kernel, struct path *path, struct file *file, int ret)
{
	if (is_ours())
		look_into(file);
	return 0;
}

SEC("fexit/tun:tun_chr_open")
int BPF_PROG(unguarded, struct inode *inode, struct file *file, int ret)
{
	struct tun_file___never *tun = ((struct file___opened *)file)->private_data;

	calls += BPF_CORE_READ(tun, no_such_field);
	return 0;
}
