//! Targets with as many arguments as a trampoline supports, and more.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Ebpf};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{set_ip_tos, set_tcp_quickack};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, bind, getsockname, recv, send, sendto, socket,
};

use super::fixture::{self, fexit, start, stop};
use super::symbols::Symbols;
use crate::objects;
use crate::scenario::{Context, scenarios, skip};

scenarios! {
    ten_arguments(ManyArguments).parallel():
        "the program sees the last arguments and the return value of a function with ten arguments";
    eleven_arguments(ManyArguments).parallel():
        "the program sees the last arguments and the return value of a function with eleven arguments";
    twelve_arguments(ManyArguments).parallel():
        "the program sees the last arguments of a function with twelve arguments";
    too_many_arguments(Fexit).parallel():
        "a function with more arguments than a trampoline supports is refused, with its name and their number";
}

/// Attaches a program to its function, if that takes so many arguments: kernels differ.
fn attached(program: &str, function: &str, arguments: usize) -> Result<Ebpf> {
    for listed in Btf::from_sys_fs()?.list_functions(&[function])? {
        let has = parameters(&listed.prototype, function);
        if has != Some(arguments) {
            return Err(skip(format!(
                "this kernel has another {}",
                listed.prototype
            )));
        }
    }
    // IFF_UP | IFF_RUNNING | IFF_LOOPBACK; the kernel assigns the address.
    fs::write("/sys/class/net/lo/flags", "0x49")?;
    fixture::attached(objects::MANY_ARGUMENTS, program)
}

fn ten_arguments(_: &mut Context) -> Result<()> {
    let ebpf = &attached("ten", "ip_make_skb", 10)?;
    const DATA: [u8; 321] = [7; 321];
    const UDP: usize = 8;
    const IP: usize = 20;
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.connect(receiver.local_addr()?)?;
    start(ebpf)?;
    let sent = send(&sender, &DATA, SendFlags::DONTWAIT);
    stop(ebpf)?;
    ensure!(sent? == DATA.len(), "the datagram was truncated");
    let seen: (u64, i32, i32, u32, u32) = (
        ebpf.global("datagrams")?,
        ebpf.global("datagram_length")?,
        ebpf.global("datagram_header")?,
        ebpf.global("datagram_flags")?,
        ebpf.global("packet_length")?,
    );
    let length = DATA.len() + UDP;
    let expected = (
        1,
        i32::try_from(length)?,
        i32::try_from(UDP)?,
        SendFlags::DONTWAIT.bits(),
        u32::try_from(length + IP)?,
    );
    ensure!(seen == expected, "ten: it saw {seen:?}, not {expected:?}");
    Ok(())
}

fn eleven_arguments(_: &mut Context) -> Result<()> {
    let ebpf = &attached("eleven", "rt_fill_info", 11)?;
    const RTM_GETROUTE: u16 = 26;
    const NLM_F_REQUEST: u16 = 1;
    const RTA_DST: u16 = 1;
    const SEQUENCE: u32 = 0x1357_9bdf;
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let kernel = SocketAddrNetlink::new(0, 0);
    bind(&socket, &kernel)?;
    let own = SocketAddrNetlink::try_from(getsockname(&socket)?)?;
    // struct nlmsghdr, struct rtmsg, struct rtattr.
    let mut request = Vec::new();
    request.extend(36_u32.to_ne_bytes());
    request.extend(RTM_GETROUTE.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend(SEQUENCE.to_ne_bytes());
    request.extend([0; 4]);
    request.extend([2, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // AF_INET, a full address
    request.extend(8_u16.to_ne_bytes());
    request.extend(RTA_DST.to_ne_bytes());
    let to = Ipv4Addr::LOCALHOST.octets();
    request.extend(to);
    start(ebpf)?;
    let sent = sendto(&socket, &request, SendFlags::empty(), &kernel);
    stop(ebpf)?;
    sent?;
    recv(&socket, &mut [0; 1024], RecvFlags::DONTWAIT)?;
    let seen: (u64, u32, u32, u32, u32, i32) = (
        ebpf.global("routes")?,
        ebpf.global("route_to")?,
        ebpf.global("route_port")?,
        ebpf.global("route_sequence")?,
        ebpf.global("route_flags")?,
        ebpf.global("route_ret")?,
    );
    let expected = (1, u32::from_ne_bytes(to), own.pid(), SEQUENCE, 0, 0);
    ensure!(
        seen == expected,
        "eleven: it saw {seen:x?}, not {expected:x?}"
    );
    Ok(())
}

fn twelve_arguments(_: &mut Context) -> Result<()> {
    let ebpf = &attached("twelve", "tcp_v4_send_ack", 12)?;
    /// The answer is usually handled at once, but on a busy machine in ksoftirqd.
    const TRIES: usize = 20;
    const TOS: u8 = 0x10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..TRIES {
        let client = TcpStream::connect(listener.local_addr()?)?;
        set_ip_tos(&client, TOS)?;
        let (mut server, _) = listener.accept()?;
        // The side that closes first, once its FIN is acknowledged, keeps only a timewait socket, which answers the
        // other side's FIN.
        drop(client);
        ensure!(server.read(&mut [0])? == 0, "the client sent data");
        set_tcp_quickack(&server, true)?;
        start(ebpf)?;
        drop(server);
        stop(ebpf)?;
        if ebpf.global::<u64>("acknowledged")? > 0 {
            break;
        }
    }
    let seen: (u64, i32, u8) = (
        ebpf.global("acknowledged")?,
        ebpf.global("ack_interface")?,
        ebpf.global("ack_tos")?,
    );
    ensure!(seen == (1, 0, TOS), "twelve: it saw {seen:?}");
    let hashes: (u32, u32) = (ebpf.global("ack_hash")?, ebpf.global("socket_hash")?);
    ensure!(
        hashes.0 == hashes.1 && hashes.0 != 0,
        "the twelfth argument was {:#x}, and in the socket is {:#x}",
        hashes.0,
        hashes.1
    );
    Ok(())
}

/// A function with more arguments than a trampoline supports, and their number. The number of arguments of a function, and
/// whether the compiler changes it, differ from kernel to kernel.
fn function_with_too_many(btf: &Btf) -> Result<(String, usize)> {
    const MOST: usize = 12;
    /// Most kernels have this one; searching all takes longer.
    const USUAL: &str = "rtnl_fill_ifinfo";
    let symbols = Symbols::read()?;
    for glob in [USUAL, "*"] {
        let functions = btf.list_functions(&[glob])?;
        let mut found = functions.into_iter().filter_map(|function| {
            let arguments = parameters(&function.prototype, &function.name)?;
            let is_attachable = || symbols.count(&function.name) == 1;
            (arguments > MOST && is_attachable()).then_some((function.name, arguments))
        });
        if let Some(found) = found.next() {
            return Ok(found);
        }
    }
    Err(skip(
        "this kernel has no function with more than twelve arguments",
    ))
}

fn too_many_arguments(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let (function, arguments) = function_with_too_many(&btf)?;
    let mut ebpf = Ebpf::load(objects::MANY_ARGUMENTS)?;
    let load = fexit(&mut ebpf, "too_many")?.load(&function, &btf);
    let error = expect_error!("a function with too many arguments", load => ProgramError::TargetRefused { .. })?;
    let text = error.to_string();
    let parts = [
        format!("`{function}`"),
        format!("{arguments} arguments"),
        "12".to_owned(),
    ];
    ensure!(
        parts.iter().all(|part| text.contains(part)),
        "the error about {function}, which has {arguments} arguments, does not say why: {text}"
    );
    Ok(())
}

/// The number of parameters in a declaration of C: one more than commas outside of parentheses. `None` if it is variable.
fn parameters(prototype: &str, name: &str) -> Option<usize> {
    let (_, list) = prototype.split_once(&format!("{name}("))?;
    if list.ends_with("...)") {
        return None;
    }
    let mut depth = 0_usize;
    let mut commas = 0;
    for c in list.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => break,
            ')' => depth -= 1,
            ',' if depth == 0 => commas += 1,
            _ => {}
        }
    }
    Some(commas + 1)
}
