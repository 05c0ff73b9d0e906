// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Every TCP connection that a process of this machine asks for: where to, how long until it stood, or why not.
 *
 * The kernel moves a socket from state to state by tcp_set_state: to SYN_SENT when it asks, in the context of the
 * process, and later to ESTABLISHED or back to CLOSE. What fails before SYN_SENT, for want of a route say, is seen by
 * what connect's own function returns.
 */
#include "tool.h"

#define AF_INET 2
#define AF_INET6 10

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
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

/* What connect(2) is given, of either family: a part of the ABI. */
struct address {
	__u16 family;
	__be16 port;
	__be32 v4;
	__u8 v6[16];
};

struct connection {
	__u64 latency_ns;
	__s32 error; /* a positive errno; 0 if it stands; -1 if the process gave up */
	__u32 pid;
	__u16 family;
	__u16 local_port;
	__be16 remote_port;
	__u16 unused;
	__u8 local[16];
	__u8 remote[16];
	char comm[COMM_LEN];
};

/* A connection that was asked for. */
struct pending {
	__u64 since;
	__u32 pid;
	__u32 connecting; /* connect's function has not returned */
	char comm[COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct pending);
} pending SEC(".maps");

static __always_inline void asked(__u64 sock)
{
	struct pending pending_ = {};

	if (!is_watched())
		return;
	pending_.since = bpf_ktime_get_ns();
	pending_.pid = bpf_get_current_pid_tgid() >> 32;
	pending_.connecting = 1;
	bpf_get_current_comm(pending_.comm, sizeof(pending_.comm));
	bpf_map_update_elem(&pending, &sock, &pending_, BPF_ANY);
}

/* void tcp_set_state(struct sock *sk, int state) */
static __always_inline int on_state(__u64 *ctx, int by_ring)
{
	__u64 sock = number(ctx, 0);
	int state = ctx[1];
	struct connection connection = {};
	struct pending *asked_for;
	struct sock *sk;

	if (state == TCP_SYN_SENT) {
		asked(sock);
		return 0;
	}
	asked_for = bpf_map_lookup_elem(&pending, &sock);
	if (!asked_for)
		return 0;
	sk = (struct sock *)ctx[0];
	connection.error = sk->sk_err;
	if (state == TCP_ESTABLISHED)
		connection.error = 0;
	else if (!connection.error) {
		/* Closed without an error: connect failed after all and will say why, or the process closed it. */
		if (asked_for->connecting)
			return 0;
		connection.error = -1;
	}
	connection.latency_ns = bpf_ktime_get_ns() - asked_for->since;
	connection.pid = asked_for->pid;
	__builtin_memcpy(connection.comm, asked_for->comm, sizeof(connection.comm));
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

/* int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len), and its like for IPv6 */
static __always_inline int on_connect(__u64 *ctx, int by_ring)
{
	__u64 sock = number(ctx, 0), now = bpf_ktime_get_ns();
	int error = ctx[3];
	struct connection connection = {};
	struct address address = {};
	struct pending *asked_for;

	asked_for = bpf_map_lookup_elem(&pending, &sock);
	if (!error) {
		if (asked_for)
			asked_for->connecting = 0;
		return 0;
	}
	if (asked_for) {
		connection.latency_ns = now - asked_for->since;
		bpf_map_delete_elem(&pending, &sock);
	}
	if (!is_watched())
		return 0;
	connection.error = -error;
	connection.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(connection.comm, sizeof(connection.comm));
	bpf_probe_read_kernel(&address, 8, (void *)number(ctx, 1));
	connection.family = address.family;
	connection.remote_port = address.port;
	if (address.family == AF_INET6)
		/* Behind the port: four bytes of flow information, then the address. */
		bpf_probe_read_kernel(connection.remote, 16, (void *)number(ctx, 1) + 8);
	else
		*(__be32 *)connection.remote = address.v4;
	report(ctx, by_ring, &connection, sizeof(connection));
	return 0;
}

REPORTS("tcp_set_state", state, on_state)
REPORTS("tcp_v4_connect", connect4, on_connect)
REPORTS("tcp_v6_connect", connect6, on_connect)
