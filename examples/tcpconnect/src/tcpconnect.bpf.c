// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * TCP connections that processes of this machine open: remote address, latency, or error.
 *
 * connect(2) calls tcp_v4_connect or tcp_v6_connect, where a fentry program stores the time and the process. If the call
 * fails, for example without a route, a fexit program reports its return value. Else tcp_set_state later changes the
 * state of the socket to ESTABLISHED or back to CLOSE, mostly in the context of another process.
 */
#include "tool.h"

#define AF_INET 2
#define AF_INET6 10

#define TCP_ESTABLISHED 1
#define TCP_CLOSE 7

struct in6_addr {
	__u8 in6_u[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
} KERNEL_TYPE;

/* The address that connect(2) is called with: a prefix of sockaddr_in and sockaddr_in6. */
struct address {
	__u16 family;
	__be16 port;
	__be32 v4;
	__u8 v6[16];
};

struct connection {
	__u64 latency_ns;
	__s32 error; /* a positive errno; 0 if established; -1 if the process gave up */
	__u32 pid;
	__u16 family;
	__u16 local_port;
	__be16 remote_port;
	__u16 unused;
	__u8 local[16];
	__u8 remote[16];
	char comm[COMM_LEN];
};

/* A connection that is neither established nor closed. */
struct pending {
	__u64 since;
	__u32 pid;
	__u32 connecting; /* tcp_v4_connect or tcp_v6_connect has not returned */
	char comm[COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct pending);
} pending SEC(".maps");

/* int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len), and tcp_v6_connect, which calls the former */
static __always_inline int on_begun(__u64 *ctx)
{
	struct pending new = {};
	__u64 sock = number(ctx, 0);

	if (!is_watched())
		return 0;
	new.since = bpf_ktime_get_ns();
	new.pid = bpf_get_current_pid_tgid() >> 32;
	new.connecting = 1;
	bpf_get_current_comm(new.comm, sizeof(new.comm));
	bpf_map_update_elem(&pending, &sock, &new, BPF_ANY);
	return 0;
}

SEC("fentry/tcp_v4_connect")
int begun4(__u64 *ctx)
{
	return on_begun(ctx);
}

SEC("fentry/tcp_v6_connect")
int begun6(__u64 *ctx)
{
	return on_begun(ctx);
}

/* void tcp_set_state(struct sock *sk, int state) */
static __always_inline int on_state(__u64 *ctx, int by_ring)
{
	__u64 sock = number(ctx, 0);
	int state = ctx[1];
	struct connection connection = {};
	struct pending *found;
	struct sock *sk;

	if (state != TCP_ESTABLISHED && state != TCP_CLOSE)
		return 0;
	found = bpf_map_lookup_elem(&pending, &sock);
	if (!found)
		return 0;
	sk = (struct sock *)ctx[0];
	connection.error = sk->sk_err;
	if (state == TCP_ESTABLISHED)
		connection.error = 0;
	else if (!connection.error) {
		/* Closed without an error: connect(2) fails and on_connect reports it, or the process closed the socket. */
		if (found->connecting)
			return 0;
		connection.error = -1;
	}
	connection.latency_ns = bpf_ktime_get_ns() - found->since;
	connection.pid = found->pid;
	__builtin_memcpy(connection.comm, found->comm, sizeof(connection.comm));
	bpf_map_delete_elem(&pending, &sock);

	sk = (struct sock *)ctx[0];
	connection.family = sk->__sk_common.skc_family;
	connection.local_port = sk->__sk_common.skc_num;
	connection.remote_port = sk->__sk_common.skc_dport;
	if (connection.family == AF_INET6) {
		bpf_probe_read_kernel(connection.local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		sk = (struct sock *)ctx[0];
		bpf_probe_read_kernel(connection.remote, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		*(__be32 *)connection.local = sk->__sk_common.skc_rcv_saddr;
		*(__be32 *)connection.remote = sk->__sk_common.skc_daddr;
	}
	report(ctx, by_ring, &connection, sizeof(connection));
	return 0;
}

static __always_inline int on_connect(__u64 *ctx, int by_ring)
{
	__u64 sock = number(ctx, 0), now = bpf_ktime_get_ns();
	int error = ctx[3];
	struct connection connection = {};
	struct address address = {};
	struct pending *found;

	found = bpf_map_lookup_elem(&pending, &sock);
	if (!found)
		return 0;
	if (!error) {
		found->connecting = 0;
		return 0;
	}
	connection.latency_ns = now - found->since;
	connection.error = -error;
	connection.pid = found->pid;
	__builtin_memcpy(connection.comm, found->comm, sizeof(connection.comm));
	bpf_map_delete_elem(&pending, &sock);
	bpf_probe_read_kernel(&address, 8, (void *)number(ctx, 1));
	connection.family = address.family;
	connection.remote_port = address.port;
	if (address.family == AF_INET6)
		/* After the port: four bytes of flow information, then the address. */
		bpf_probe_read_kernel(connection.remote, 16, (void *)number(ctx, 1) + 8);
	else
		*(__be32 *)connection.remote = address.v4;
	report(ctx, by_ring, &connection, sizeof(connection));
	return 0;
}

REPORTS("tcp_set_state", state, on_state)
REPORTS("tcp_v4_connect", connect4, on_connect)
REPORTS("tcp_v6_connect", connect6, on_connect)
