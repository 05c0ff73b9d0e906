//! The one network interface that a VM without a network has.

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

/// Switches `lo` on, so that a program can talk to itself.
pub(crate) fn raise_loopback() -> Result<()> {
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
    sendto(&socket, &request, SendFlags::empty(), &kernel).context("cannot ask for `lo`")?;
    let mut answer = [0; 1024];
    let (length, _) =
        recv(&socket, &mut answer, RecvFlags::empty()).context("no answer on `lo`")?;
    let Some((kind, error)) = parse(&answer[..length]) else {
        bail!("an answer of {length} bytes on `lo`")
    };
    match (kind, error) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, error) => {
            let error = std::io::Error::from_raw_os_error(-error);
            Err(error).context("cannot switch `lo` on")
        }
        _ => bail!("an answer of kind {kind} on `lo`"),
    }
}

/// The kind of a message, and the number that an error message begins with.
fn parse(message: &[u8]) -> Option<(u16, i32)> {
    let kind = message.get(4..6)?.try_into().ok()?;
    let error = message.get(16..20)?.try_into().ok()?;
    Some((u16::from_ne_bytes(kind), i32::from_ne_bytes(error)))
}
