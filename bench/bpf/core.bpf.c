// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* One function, and reads of the kernel's structs: CO-RE relocations of every common kind. */
#include "common.h"

#define KERNEL_TYPE __attribute__((preserve_access_index))

struct pid_namespace {
	unsigned int level;
} KERNEL_TYPE;

struct nsproxy {
	struct pid_namespace *pid_ns_for_children;
} KERNEL_TYPE;

struct qstr {
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} KERNEL_TYPE;

struct path {
	struct dentry *dentry;
} KERNEL_TYPE;

struct fs_struct {
	struct path pwd;
} KERNEL_TYPE;

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct nsproxy *nsproxy;
	struct fs_struct *fs;
	char comm[16];
} KERNEL_TYPE;

/* The field before 5.14. */
struct task_struct___old {
	long state;
} KERNEL_TYPE;

struct report {
	int parent;
	unsigned int level;
	unsigned int comm_at;
	__u64 task_size;
	char pwd[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, int);
	__type(value, struct report);
} reports SEC(".maps");

SEC("fexit/__do_sys_getppid")
int reads(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct report report = {};
	const unsigned char *name;
	int pid = BPF_CORE_READ(task, pid);

	report.parent = BPF_CORE_READ(task, real_parent, tgid);
	report.level = BPF_CORE_READ(task, nsproxy, pid_ns_for_children, level);
	report.comm_at = bpf_core_field_offset(struct task_struct, comm);
	report.task_size = bpf_core_type_size(struct task_struct);
	if (bpf_core_field_exists(struct task_struct___old, state))
		report.level |= 1u << 31;
	name = BPF_CORE_READ(task, fs, pwd.dentry, d_name.name);
	bpf_probe_read_kernel_str(report.pwd, sizeof(report.pwd), name);
	bpf_map_update_elem(&reports, &pid, &report, BPF_ANY);
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
