// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Maps of types that not every kernel has, by number: the installed headers may be older. */
#include "common.h"

#define INODE_STORAGE 28
#define TASK_STORAGE 29
#define BLOOM_FILTER 30
#define USER_RINGBUF 31
#define CGRP_STORAGE 32

#define STORAGE(number, name)                                                                                          \
	struct {                                                                                                       \
		__uint(type, number);                                                                                  \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                                  \
		__type(key, int);                                                                                      \
		__type(value, __u64);                                                                                  \
	} name SEC(".maps")

STORAGE(INODE_STORAGE, inode_storage);
STORAGE(TASK_STORAGE, task_storage);
STORAGE(CGRP_STORAGE, cgrp_storage);

struct {
	__uint(type, BLOOM_FILTER);
	__uint(max_entries, 16);
	__type(value, __u64);
} bloom_filter SEC(".maps");

struct {
	__uint(type, USER_RINGBUF);
	__uint(max_entries, 4096);
} user_ringbuf SEC(".maps");

SEC("fexit/filename_lookup")
int uses_none(void *ctx)
{
	return 0;
}
