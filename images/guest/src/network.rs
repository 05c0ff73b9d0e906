//! The loopback interface: the only one in the VM.

use anyhow::{Context as _, Result, bail};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// `lo` is the first interface of every network namespace.
const LOOPBACK: i32 = 1;

/// Brings `lo` up.
pub(crate) fn bring_loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)
        .context("cannot open a netlink socket")?;
    // struct nlmsghdr and struct ifinfomsg.
    let mut request = Vec::new();
    request.extend(32_u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([0; 4]);
    request.extend(LOOPBACK.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());
    request.extend(IFF_UP.to_ne_bytes());
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request, SendFlags::empty(), &kernel)
        .context("cannot send the netlink request that brings `lo` up")?;
    let mut answer = [0; 1024];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())
        .context("no netlink answer to the request that brings `lo` up")?;
    let Some((kind, error)) = parse(&answer[..length]) else {
        bail!("the netlink answer about `lo` has only {length} bytes")
    };
    match (kind, error) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, error) => {
            let error = std::io::Error::from_raw_os_error(-error);
            Err(error).context("cannot bring `lo` up")
        }
        _ => bail!("the netlink answer about `lo` has the unexpected type {kind}"),
    }
}

/// The type of a netlink message, and the error number of an NLMSG_ERROR.
fn parse(message: &[u8]) -> Option<(u16, i32)> {
    let kind = message.get(4..6)?.try_into().ok()?;
    let error = message.get(16..20)?.try_into().ok()?;
    Some((u16::from_ne_bytes(kind), i32::from_ne_bytes(error)))
}
