// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The latency of reads and writes of files, by file system: a histogram, and each slow one.
 *
 * The latency is that of vfs_read and vfs_write: a fentry program stores the time, and a fexit program has the result.
 */
#include "tool.h"

#define NAME_LEN 64
#define FS_LEN 16
#define SLOTS 32

#define S_IFMT 0170000
#define S_IFREG 0100000

struct file_system_type {
	const char *name;
} KERNEL_TYPE;

struct super_block {
	struct file_system_type *s_type;
} KERNEL_TYPE;

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
} KERNEL_TYPE;

struct qstr {
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct qstr d_name;
} KERNEL_TYPE;

struct path {
	struct dentry *dentry;
} KERNEL_TYPE;

struct file {
	struct inode *f_inode;
	struct path f_path;
} KERNEL_TYPE;

/* The thread is not enough: one file system may call another for the same read or write. */
struct key {
	__u64 file;
	__u64 tid;
};

/* The key of a histogram. */
struct kind {
	char fs[FS_LEN];
	__u32 write;
};

struct slow {
	__u64 latency_ns;
	__s64 result;
	__u32 pid;
	__u32 write;
	char comm[COMM_LEN];
	char fs[FS_LEN];
	char name[NAME_LEN];
};

/* Reads and writes that take at least this long are reported one by one; the maximum means none. */
const volatile __u64 slow_ns = -1;
/* Whether pipes, sockets, terminals and devices count: reading from those is mostly waiting. */
const volatile __u8 all_kinds = 0;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct key);
	__type(value, __u64);
} begun_at SEC(".maps");

/* Slot n counts latencies of 2^(n-1) up to 2^n microseconds; the first one less than one microsecond. */
struct histogram {
	__u64 slots[SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 128);
	__type(key, struct kind);
	__type(value, struct histogram);
} latencies SEC(".maps");

/* A new histogram. It is too large for the stack. */
static const struct histogram none;

/* The number of significant bits of `value`. */
static __always_inline __u32 bits(__u64 value)
{
	__u32 bits = 0;

#pragma unroll
	for (int step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			bits += step;
		}
	}
	return bits + (value != 0);
}

/* ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos), and vfs_write */
static __always_inline int on_begun(__u64 *ctx)
{
	struct key key = {};
	struct file *file;
	__u64 now;

	if (!is_watched())
		return 0;
	key.file = number(ctx, 0);
	key.tid = (__u32)bpf_get_current_pid_tgid();
	file = (struct file *)ctx[0];
	if (!all_kinds && (file->f_inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&begun_at, &key, &now, BPF_ANY);
	return 0;
}

SEC("fentry/vfs_read")
int will_read(__u64 *ctx)
{
	return on_begun(ctx);
}

SEC("fentry/vfs_write")
int will_write(__u64 *ctx)
{
	return on_begun(ctx);
}

static __always_inline void count(struct kind *kind, __u64 latency_ns)
{
	struct histogram *histogram = bpf_map_lookup_elem(&latencies, kind);
	__u32 slot = bits(latency_ns / 1000);

	if (!histogram) {
		bpf_map_update_elem(&latencies, kind, &none, BPF_NOEXIST);
		histogram = bpf_map_lookup_elem(&latencies, kind);
	}
	if (histogram)
		histogram->slots[slot < SLOTS ? slot : SLOTS - 1]++;
}

static __always_inline int on_ended(__u64 *ctx, int by_ring, __u32 write)
{
	__u64 now = bpf_ktime_get_ns(), *since;
	struct slow slow = {};
	struct kind kind = {};
	struct key key = {};

	key.file = number(ctx, 0);
	key.tid = (__u32)bpf_get_current_pid_tgid();
	since = bpf_map_lookup_elem(&begun_at, &key);
	if (!since)
		return 0;
	slow.latency_ns = now - *since;
	bpf_map_delete_elem(&begun_at, &key);
	kind.write = write;
	bpf_probe_read_kernel_str(kind.fs, sizeof(kind.fs),
				  ((struct file *)ctx[0])->f_inode->i_sb->s_type->name);
	count(&kind, slow.latency_ns);
	if (slow_ns == -1 || slow.latency_ns < slow_ns)
		return 0;
	slow.result = ctx[4];
	slow.write = write;
	slow.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(slow.comm, sizeof(slow.comm));
	__builtin_memcpy(slow.fs, kind.fs, sizeof(slow.fs));
	bpf_probe_read_kernel_str(slow.name, sizeof(slow.name),
				  ((struct file *)ctx[0])->f_path.dentry->d_name.name);
	report(ctx, by_ring, &slow, sizeof(slow));
	return 0;
}

REPORTS("vfs_read", did_read, on_ended, 0)
REPORTS("vfs_write", did_write, on_ended, 1)
