//! TCP connections, from the state changes of their sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use fexit::EbpfLoader;
use serde_json::{Value, json};
use tool::{Events, Fields, Record, Tracer, Watched, errno, printable};

const OBJECT: &[u8] = fexit::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpconnect.bpf.o"));
const AF_INET6: u16 = 10;

/// What to report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Which process to watch.
    #[command(flatten)]
    pub watched: Watched,
}

/// The result of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is established.
    Connected,
    /// The remote host, the network or this machine refused it.
    Failed(i32),
    /// The process closed the socket before it got an answer.
    GaveUp,
}

/// A connection that was established or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// From the call to the answer: on an idle network, the round trip. If no packet was sent, to the return of the call.
    pub latency: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// The process that called connect(2).
    pub pid: u32,
    /// The name of its thread.
    pub comm: String,
    /// The local address; unspecified if it has none.
    pub local: SocketAddr,
    /// The remote address.
    pub remote: SocketAddr,
}

/// Starts watching.
///
/// # Errors
///
/// The library's errors.
pub fn start(options: &Options) -> Result<(Tracer, Events)> {
    let mut tracer = Tracer::new(OBJECT, &mut EbpfLoader::new(), &options.watched)?;
    let events = tracer.events()?;
    tracer.attach("state", &["tcp_set_state"])?;
    for program in ["connect4", "begun4"] {
        tracer.attach(program, &["tcp_v4_connect"])?;
    }
    // The kernel may lack IPv6.
    let mut attach6 = |program| tracer.attach(program, &["tcp_v6_connect"]);
    if let Err(error) = attach6("connect6").and_then(|()| attach6("begun6")) {
        eprintln!("IPv6 connections are not shown: {error:#}");
    }
    Ok((tracer, events))
}

impl Record for Connection {
    const HEADER: &str = "    PID COMM                     US  RESULT                   REMOTE";

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes);
        let latency = Duration::from_nanos(fields.u64()?);
        let outcome = match fields.i32()? {
            0 => Outcome::Connected,
            -1 => Outcome::GaveUp,
            errno => Outcome::Failed(errno),
        };
        let pid = fields.u32()?;
        let v6 = fields.u16()? == AF_INET6;
        let local_port = fields.u16()?;
        let remote_port = u16::from_be(fields.u16()?);
        fields.u16()?;
        let local = SocketAddr::new(address(fields.bytes()?, v6), local_port);
        let remote = SocketAddr::new(address(fields.bytes()?, v6), remote_port);
        let comm = fields.text::<16>()?;
        Ok(Self {
            latency,
            outcome,
            pid,
            comm,
            local,
            remote,
        })
    }

    fn json(&self) -> Value {
        let (outcome, errno) = match self.outcome {
            Outcome::Connected => ("connected", None),
            Outcome::GaveUp => ("gave-up", None),
            Outcome::Failed(errno) => ("failed", Some(errno)),
        };
        json!({
            "pid": self.pid,
            "comm": self.comm,
            "latency_us": self.latency.as_micros() as u64,
            "outcome": outcome,
            "errno": errno,
            "local": self.local.to_string(),
            "remote": self.remote.to_string(),
        })
    }

    fn text(&self) -> String {
        let result = match self.outcome {
            Outcome::Connected => "connected".to_owned(),
            Outcome::GaveUp => "gave up".to_owned(),
            Outcome::Failed(number) => errno(number),
        };
        format!(
            "{:>7} {:16} {:>10}  {result:24} {}",
            self.pid,
            printable(&self.comm),
            self.latency.as_micros(),
            self.remote
        )
    }
}

fn address(bytes: [u8; 16], v6: bool) -> IpAddr {
    if v6 {
        // It may be an IPv4-mapped address.
        return Ipv6Addr::from(bytes).to_canonical();
    }
    let [a, b, c, d, ..] = bytes;
    Ipv4Addr::new(a, b, c, d).into()
}
