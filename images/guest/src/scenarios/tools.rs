//! The tools in `examples/`, each with both kinds of event buffers.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use slowopen::Open;
use tcpconnect::{Connection, Outcome};
use tool::{Events, Record, Watched};
use vfslat::{Operation, Slow};

use crate::scenario::{Context, poll_until, scenarios};

scenarios! {
    tool_slowopen(Fexit).parallel(): "examples/slowopen reports each open with its path and error";
    tool_tcpconnect(Fexit):
        "examples/tcpconnect reports connections that succeed, are refused, have no route, or time out";
    tool_vfslat(Fexit).parallel(): "examples/vfslat counts reads and writes by file system";
}

fn tool_slowopen(_: &mut Context) -> Result<()> {
    both(slow_open)
}

fn tool_tcpconnect(_: &mut Context) -> Result<()> {
    both(tcp_connect)
}

fn tool_vfslat(_: &mut Context) -> Result<()> {
    both(vfs_latency)
}

/// How long a wake-up may take, on any machine.
const TIMEOUT: Duration = Duration::from_secs(10);

const ENOENT: i32 = 2;
const ENETUNREACH: i32 = 101;
const ECONNREFUSED: i32 = 111;

/// With a ring buffer, where the kernel has it, and with perf buffers.
fn both(run: fn(&Watched) -> Result<()>) -> Result<()> {
    for perf_events in [false, true] {
        let pid = Some(process::id());
        run(&Watched { pid, perf_events })
            .with_context(|| format!("perf events: {perf_events}"))?;
    }
    Ok(())
}

/// The next record that `is_match` accepts.
fn next<R: Record>(events: &mut Events, what: &str, is_match: impl Fn(&R) -> bool) -> Result<R> {
    poll_until(what, TIMEOUT, || {
        let mut found = None;
        events.drain(|record| {
            let record = R::parse(record)?;
            if is_match(&record) {
                found.get_or_insert(record);
            }
            Ok(())
        })?;
        Ok(found)
    })
}

fn slow_open(watched: &Watched) -> Result<()> {
    let file = "/tmp/slow\nopen";
    fs::write(file, "")?;
    let options = slowopen::Options {
        watched: watched.clone(),
        ..slowopen::Options::default()
    };
    let (tracer, mut events) = slowopen::start(&options)?;
    for (path, errno) in [(file, None), ("/tmp/none", Some(ENOENT))] {
        let start = Instant::now();
        let opened = File::open(path);
        let took = start.elapsed();
        ensure!(opened.is_err() == errno.is_some(), "{path}: {opened:?}");
        let open = next(&mut events, path, |open: &Open| open.path == path)?;
        ensure!(open.errno == errno, "{open:?}");
        // Both from the same clock, which may be coarse.
        ensure!(open.latency <= took, "{open:?} within {took:?}");
        ensure!(open.pid == process::id(), "{open:?}");
    }
    ensure!(tracer.dropped()? == 0, "records were dropped");
    drop(tracer);

    let options = slowopen::Options {
        failed: true,
        ..options
    };
    let (_tracer, mut events) = slowopen::start(&options)?;
    File::open(file)?;
    ensure!(File::open("/tmp/none").is_err(), "there is a file");
    // The first record is that of the failure: the other was filtered out.
    let open = next(&mut events, "the first open", |_: &Open| true)?;
    ensure!(open.errno == Some(ENOENT), "{open:?}");
    Ok(())
}

fn tcp_connect(watched: &Watched) -> Result<()> {
    // IFF_UP | IFF_RUNNING | IFF_LOOPBACK; the kernel assigns the address.
    fs::write("/sys/class/net/lo/flags", "0x49")?;
    let options = tcpconnect::Options {
        watched: watched.clone(),
    };
    let (tracer, mut events) = tcpconnect::start(&options)?;
    let mut expect = |to: SocketAddr, outcome: Outcome| {
        let same = |connection: &Connection| connection.remote == to;
        let connection = next(&mut events, &to.to_string(), same)?;
        ensure!(
            connection.outcome == outcome && connection.pid == process::id(),
            "{connection:?} is not {outcome:?}"
        );
        Ok(connection)
    };

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let stream = TcpStream::connect(address)?;
    let connection = expect(address, Outcome::Connected)?;
    ensure!(connection.local == stream.local_addr()?, "{connection:?}");

    drop(listener);
    ensure!(
        TcpStream::connect(address).is_err(),
        "the port must be closed"
    );
    expect(address, Outcome::Failed(ECONNREFUSED))?;

    // There is no route, so no packet is sent.
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 80));
    let start = Instant::now();
    ensure!(TcpStream::connect(nowhere).is_err(), "there is a network");
    let took = start.elapsed();
    let connection = expect(nowhere, Outcome::Failed(ENETUNREACH))?;
    ensure!(connection.latency <= took, "{connection:?} within {took:?}");

    let (_listener, address) = listener_for_two()?;
    let mut queued = Vec::new();
    for _ in 0..2 {
        queued.push(TcpStream::connect(address)?);
        expect(address, Outcome::Connected)?;
    }
    // The queue is full, so this connection gets no answer.
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    ensure!(
        error.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut),
        "the queue has room"
    );
    let connection = expect(address, Outcome::GaveUp)?;
    // The timeout, measured with a coarse clock.
    ensure!(!connection.latency.is_zero(), "{connection:?}");

    // A kernel may lack IPv6.
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let address = listener.local_addr()?;
        let _stream = TcpStream::connect(address)?;
        expect(address, Outcome::Connected)?;
    }
    ensure!(tracer.dropped()? == 0, "records were dropped");
    Ok(())
}

/// A listener with a queue of two connections. Without SYN cookies a queue of one is full from the start.
fn listener_for_two() -> Result<(rustix::fd::OwnedFd, SocketAddr)> {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&listener, 1)?;
    let address: SocketAddr = getsockname(&listener)?.try_into()?;
    Ok((listener, address))
}

fn vfs_latency(watched: &Watched) -> Result<()> {
    const SIZE: usize = 1 << 20;
    const READS: u64 = 5;
    let options = vfslat::Options {
        slower_than: Some(0),
        watched: watched.clone(),
        ..vfslat::Options::default()
    };
    let (tracer, mut events) = vfslat::start(&options)?;
    let path = "/tmp/vfslat";
    let mut data = vec![7; SIZE];
    let mut expect = |operation| {
        let same = |slow: &Slow| slow.name == "vfslat" && slow.operation == operation;
        let slow = next(&mut events, "a slow one", same)?;
        ensure!(slow.result == SIZE as i64 && slow.fs == "tmpfs", "{slow:?}");
        anyhow::Ok(())
    };
    File::create(path)?.write_all(&data)?;
    expect(Operation::Write)?;
    for _ in 0..READS {
        File::open(path)?.read_exact(&mut data)?;
        expect(Operation::Read)?;
    }
    let all = vfslat::histograms(&tracer)?;
    for (operation, expected) in [(Operation::Write, 1), (Operation::Read, READS)] {
        let count = all
            .get(&("tmpfs".to_owned(), operation))
            .map_or(0, vfslat::Histogram::count);
        ensure!(count == expected, "{operation}: {count}, not {expected}");
    }
    Ok(())
}
