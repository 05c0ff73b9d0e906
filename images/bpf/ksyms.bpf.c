// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* __ksym functions and variables, existing and missing ones. */
#include "common.h"

struct task_struct;

/* Since 6.2; earlier kernels have another name for it, and it takes no reference. */
extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
/* On no kernel, or with other arguments. */
extern int bpf_no_such_function(int number) __ksym __weak;
extern int bpf_no_such_strong_function(int number) __ksym;
extern int vfs_open(int number, int of, int other, int arguments) __ksym __weak;

extern const void vfs_read __ksym;
extern const void no_such_symbol __ksym __weak;
extern const void no_such_strong_symbol __ksym;

/* A per-CPU variable. */
extern const int bpf_prog_active __ksym;
extern const int no_such_variable __ksym __weak;

__u64 calls, acquired, has_acquire, has_none, has_other, address, no_address, active, no_variable;

SEC("fexit/filename_lookup")
int functions(void *ctx)
{
	struct task_struct *task;

	if (!is_ours())
		return 0;
	calls++;
	has_none = &bpf_no_such_function != 0;
	has_other = &vfs_open != 0;
	if (&bpf_no_such_function)
		acquired += bpf_no_such_function(1);
	if (&vfs_open)
		acquired += vfs_open(1, 2, 3, 4);
	if (&bpf_task_acquire) {
		has_acquire = 1;
		task = bpf_task_acquire((struct task_struct *)bpf_get_current_task_btf());
		if (task) {
			acquired++;
			bpf_task_release(task);
		}
	}
	return 0;
}

SEC("fexit/filename_lookup")
int addresses(void *ctx)
{
	if (!is_ours())
		return 0;
	calls++;
	address = (__u64)&vfs_read;
	no_address = (__u64)&no_such_symbol;
	return 0;
}

SEC("fexit/filename_lookup")
int variables(void *ctx)
{
	const int *here;

	if (!is_ours())
		return 0;
	calls++;
	here = bpf_this_cpu_ptr(&bpf_prog_active);
	/* Kernels before 5.11 count running programs here. */
	active = *here + 1;
	no_variable = (__u64)&no_such_variable;
	return 0;
}

SEC("fexit/filename_lookup")
int strong_function(void *ctx)
{
	return bpf_no_such_strong_function(1);
}

SEC("fexit/filename_lookup")
int strong_symbol(void *ctx)
{
	return (__u64)&no_such_strong_symbol & 1;
}

/* Calls without checking bpf_ksym_exists. */
SEC("fexit/filename_lookup")
int unguarded(void *ctx)
{
	return bpf_no_such_function(1) & 0;
}
