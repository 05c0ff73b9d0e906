// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that the verifier refuses, and programs that it accepts. */
#include "common.h"
#include <bpf/bpf_core_read.h>

SEC("fexit/filename_lookup")
int fine(void *ctx)
{
	return 0;
}

/* The function has five arguments and a return value: there is no twelfth slot in the context. */
SEC("fexit/filename_lookup")
int beyond(__u64 *ctx)
{
	return ctx[11] != 0;
}

/* A field that no kernel has, behind a pointer of a type that all have. */
struct qstr {
	__u32 len;
	__u32 no_such_field;
} KERNEL_TYPE;

SEC("fexit/filename_lookup")
int lacking(__u64 *ctx)
{
	struct qstr *name = (void *)ctx[1];

	return name->no_such_field;
}

/* Guarded by bpf_core_field_exists, it loads. */
SEC("fexit/filename_lookup")
int careful(__u64 *ctx)
{
	struct qstr *name = (void *)ctx[1];

	if (__builtin_preserve_field_info(name->no_such_field, BPF_FIELD_EXISTS))
		return name->no_such_field;
	return 0;
}

/* Loads too, but the verifier logs every iteration of the loop. */
SEC("fexit/filename_lookup")
int lengthy(void *ctx)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < 800; i++)
		asm volatile("%0 += 2" : "+r"(sum));
	return 0;
}

static long add(__u32 round, void *sum)
{
	*(__u64 *)sum += round;
	return 0;
}

/* bpf_loop requires 5.17, callbacks require 5.13. */
SEC("fexit/filename_lookup")
int rounds(void *ctx)
{
	__u64 sum = 0;

	bpf_loop(10, add, &sum, 0);
	return 0;
}

/* Lockdown forbids this helper. */
SEC("fexit/filename_lookup")
int reads_kernel(__u64 *ctx)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)ctx[1]);
	return 0;
}
