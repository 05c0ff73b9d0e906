//! Maps through which a program reports events: ring buffer, perf event array, per-CPU maps.

use std::ffi::CStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fexit::maps::perf::{self, PerfEvent, PerfEventArrayBuffer};
use fexit::maps::{PerCpuArray, PerCpuHashMap, PerfEventArray, RingBuf};
use fexit::programs::Target;
use fexit::{Btf, Ebpf, EbpfLoader, Map, MapError};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::param;

use super::counter::expect_error;
use super::fixture::{attached, closed_on_exec, fexit, map, start, stop};
use crate::objects;
use crate::scenario::{Context, scenarios};

scenarios! {
    ring_buffer(RingBuf).parallel(): "a ring buffer delivers records complete and in order";
    ring_buffer_edges(RingBuf).parallel(): "a reader with EPOLLET gets every record of its own task and of another one";
    ring_buffer_one_reader(RingBuf).parallel():
        "a second reader of a ring buffer is refused, through any handle, until the first is dropped";
    perf_event_array(Fexit).parallel(): "perf buffers deliver records complete and in order, and count lost ones";
    per_cpu_maps(Fexit).parallel(): "per-CPU arrays and hashes hold one value for each CPU";
    cpu_list_missing(Fexit): "without the list of CPUs, reading a per-CPU map fails instead of looking empty";
    lazy_maps(Fexit).parallel(): "a map is created for the first program that uses it, not before";
}

/// How long a wake-up may take, on any machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A directory for lookups. The records contain its descriptor.
fn dir() -> Result<OwnedFd> {
    Ok(open(
        "/proc",
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )?)
}

/// Looks up an existing or a missing file. Returns the record that the program must send.
fn look_up(dir: &OwnedFd, number: u64, there: bool) -> Vec<u8> {
    let path = if there { "self" } else { "no such file" };
    let _ = accessat(dir, path, Access::EXISTS, AtFlags::empty());
    let ret: i32 = if there { 0 } else { -2 };
    let mut record = number.to_ne_bytes().to_vec();
    record.extend(dir.as_raw_fd().to_ne_bytes());
    record.extend(ret.to_ne_bytes());
    record
}

fn ring_buffer(_: &mut Context) -> Result<()> {
    let ebpf = attached(objects::EVENT_MAPS, "to_ring")?;
    let mut ring = RingBuf::try_from(map(&ebpf, "ring")?)?;
    expect_error!("a second reader", RingBuf::try_from(map(&ebpf, "ring")?) => MapError::InUse { .. })?;
    ensure!(
        !ring.wait(Some(Duration::ZERO))?,
        "there is something to read before any call"
    );
    ensure!(ring.next().is_none(), "there is a record before any call");
    let dir = dir()?;
    start(&ebpf)?;
    // Three times around the buffer of 4096 bytes: a record takes 24 bytes with its header.
    for number in 0..512 {
        let expected = look_up(&dir, number, number % 3 == 0);
        ensure!(ring.wait(Some(TIMEOUT))?, "no wake-up for record {number}");
        let record = ring.next().with_context(|| format!("no record {number}"))?;
        ensure!(
            *record == expected[..],
            "record {number} is {:?}, not {expected:?}",
            &*record
        );
    }
    ensure!(ring.next().is_none(), "there is one record too many");

    // A full buffer drops records, and accepts records again once it is read.
    let expected: Vec<_> = (512..1024)
        .map(|number| look_up(&dir, number, true))
        .collect();
    let dropped: u64 = ebpf.global("dropped")?;
    let mut kept = 0;
    while let Some(record) = ring.next() {
        ensure!(
            *record == expected[kept][..],
            "record {kept} of the full buffer is wrong"
        );
        kept += 1;
    }
    ensure!(
        kept as u64 + dropped == 512 && kept > 100,
        "{kept} kept and {dropped} dropped of 512"
    );
    let number: u64 = ebpf.global("number")?;
    let expected = look_up(&dir, number, false);
    ensure!(
        ring.next().as_deref() == Some(&expected[..]),
        "nothing after the overflow"
    );
    Ok(())
}

fn ring_buffer_edges(_: &mut Context) -> Result<()> {
    const RECORDS: u64 = 3000;
    const AHEAD: u64 = 64;
    let ebpf = attached(objects::EVENT_MAPS, "to_ring")?;
    let mut ring = RingBuf::try_from(map(&ebpf, "ring")?)?;
    let edges = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&edges, &ring, epoll::EventData::new_u64(0), flags)?;
    let wait = |number: u64| -> Result<()> {
        let (mut events, timeout) = (Vec::with_capacity(1), TIMEOUT.try_into()?);
        let woken = epoll::wait(&edges, spare_capacity(&mut events), Some(&timeout))?;
        ensure!(woken == 1, "no edge for record {number}");
        Ok(())
    };
    let mut drain = |from: u64| -> Result<u64> {
        let mut next = from;
        while let Some(record) = ring.next() {
            let number = record.first_chunk().copied().map(u64::from_ne_bytes);
            ensure!(number == Some(next), "record {next} is {:?}", &*record);
            next += 1;
        }
        Ok(next)
    };
    let dir = dir()?;
    start(&ebpf)?;
    let read = AtomicU64::new(0);
    let all = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RECORDS {
                while number >= read.load(Ordering::SeqCst) + AHEAD {
                    thread::yield_now();
                }
                look_up(&dir, number, true);
            }
        });
        let mut all = || -> Result<u64> {
            let mut next = 0;
            while next < RECORDS {
                wait(next)?;
                next = drain(next)?;
                read.store(next, Ordering::SeqCst);
            }
            Ok(next)
        };
        let result = all();
        // End the other task also after an error.
        read.store(RECORDS, Ordering::SeqCst);
        result
    });
    let mut next = all?;
    for _ in 0..100 {
        look_up(&dir, next, true);
        wait(next)?;
        next = drain(next)?;
    }
    ensure!(next == RECORDS + 100, "{next} records were read");
    Ok(())
}

fn ring_buffer_one_reader(_: &mut Context) -> Result<()> {
    let ebpf = attached(objects::EVENT_MAPS, "to_ring")?;
    let own = map(&ebpf, "ring")?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", own.fd()?.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("map_id:"));
    let id: u32 = id.context("no id")?.trim().parse()?;
    let reused = EbpfLoader::new()
        .reuse_map("ring", own)
        .load(objects::EVENT_MAPS)?;
    let handles = [
        own.clone(),
        Map::from_id(id)?,
        Map::from_fd(own.fd()?.try_clone_to_owned()?)?,
        map(&reused, "ring")?.clone(),
    ];
    for (first, handle) in handles.iter().enumerate() {
        let reader = RingBuf::try_from(handle)?;
        for (second, other) in handles.iter().enumerate() {
            expect_error!(
                &format!("reader {second} while reader {first} exists"),
                RingBuf::try_from(other) => MapError::InUse { .. }
            )?;
        }
        drop(reader);
    }
    // Another map with the same definition has its own reader.
    let other = Ebpf::load(objects::EVENT_MAPS)?;
    let _readers = (
        RingBuf::try_from(own)?,
        RingBuf::try_from(map(&other, "ring")?)?,
    );
    Ok(())
}

/// Reads all records, and the number of lost ones.
fn drain(buffers: &mut [PerfEventArrayBuffer<Map>]) -> (Vec<Vec<u8>>, u64) {
    let (mut records, mut lost) = (Vec::new(), 0);
    for buffer in buffers {
        buffer.for_each(|event| match event {
            PerfEvent::Sample { head, tail } => records.push([head, tail].concat()),
            PerfEvent::Lost { count } => lost += count,
        });
    }
    (records, lost)
}

fn perf_event_array(_: &mut Context) -> Result<()> {
    let mut ebpf = attached(objects::EVENT_MAPS, "to_events")?;
    let events = ebpf.take_map("events").context("no map `events`")?;
    let mut buffers = PerfEventArray::try_from(events)?.open_all(Some(1))?;
    ensure!(
        drain(&mut buffers).0.is_empty(),
        "there is a record before any call"
    );
    closed_on_exec()?;
    let dir = dir()?;
    start(&ebpf)?;
    for number in 0..300 {
        let expected = look_up(&dir, number, number % 3 == 0);
        ensure!(
            perf::wait(&buffers, Some(TIMEOUT))?,
            "no wake-up for record {number}"
        );
        match drain(&mut buffers).0.as_slice() {
            // The kernel pads records to a multiple of eight bytes.
            [data] if data.starts_with(&expected) => {}
            other => anyhow::bail!("record {number} is {other:?}, not {expected:?}"),
        }
    }
    // More than fit into a buffer of one page, which has 4 to 64 KiB.
    let many = 500 * (param::page_size() / 4096) as u64;
    for number in 0..many {
        look_up(&dir, number, true);
    }
    let (records, mut lost) = drain(&mut buffers);
    // The kernel sends the number of lost records with the next record that fits.
    look_up(&dir, many, true);
    lost += drain(&mut buffers).1;
    let kept = records.len() as u64;
    ensure!(
        kept + lost == many && lost > 0,
        "{kept} kept and {lost} lost of {many}"
    );
    Ok(())
}

fn per_cpu_maps(_: &mut Context) -> Result<()> {
    let ebpf = attached(objects::EVENT_MAPS, "to_counts")?;
    let mut counts: PerCpuArray<_, u32> = map(&ebpf, "counts")?.clone().try_into()?;
    let mut by_result: PerCpuHashMap<_, i32, u64> = map(&ebpf, "by_result")?.clone().try_into()?;
    let cpus = counts.get(&1, 0)?.len();
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last: usize = possible
        .trim()
        .rsplit(['-', ','])
        .next()
        .unwrap_or_default()
        .parse()?;
    ensure!(cpus == last + 1, "{cpus} values, but CPUs {possible}");

    counts.set(1, vec![1000; cpus].try_into()?, 0)?;
    by_result.insert(-2, vec![50; cpus].try_into()?, 0)?;
    let dir = dir()?;
    start(&ebpf)?;
    for there in [true, false, false] {
        look_up(&dir, 0, there);
    }
    stop(&ebpf)?;
    ensure!(
        counts.get(&1, 0)?.iter().sum::<u32>() == 1000 * u32::try_from(cpus)? + 3,
        "not 3 calls"
    );
    ensure!(
        counts.get(&0, 0)?.iter().sum::<u32>() == 0,
        "another element of the array changed"
    );
    let misses: u64 = by_result.get(&-2, 0)?.iter().sum();
    ensure!(
        misses == 50 * cpus as u64 + 2,
        "{misses} is not 50 for each CPU and 2"
    );
    let hits: u64 = by_result.get(&0, 0)?.iter().sum();
    ensure!(hits == 1, "{hits} hits, not one");
    let mut keys = by_result.keys().collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    ensure!(keys == [-2, 0], "the hash has the keys {keys:?}");
    Ok(())
}

fn cpu_list_missing(_: &mut Context) -> Result<()> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let mut ebpf = attached(objects::EVENT_MAPS, "to_counts")?;
    let dir = dir()?;
    start(&ebpf)?;
    look_up(&dir, 0, true);
    stop(&ebpf)?;
    let by_result: PerCpuHashMap<_, i32, u64> = map(&ebpf, "by_result")?.clone().try_into()?;
    ensure!(by_result.iter().count() == 1, "the call was not counted");
    let events = ebpf.take_map("events").context("no map `events`")?;
    let mut events = PerfEventArray::try_from(events)?;
    mount("tmpfs", CPUS, "tmpfs", MountFlags::empty(), None::<&CStr>)?;
    let (first, opened) = (by_result.iter().next(), events.open_all(None));
    unmount(CPUS, UnmountFlags::empty())?;
    let cannot_read_cpus = |error: &MapError| {
        matches!(error, MapError::SyscallError { .. }) && error.to_string().contains("list of CPUs")
    };
    let first = first.context("the map is said to be empty")?;
    expect_error(
        "an element without the list of CPUs",
        first,
        cannot_read_cpus,
    )?;
    expect_error("buffers without the list of CPUs", opened, cannot_read_cpus)?;
    Ok(())
}

fn lazy_maps(_: &mut Context) -> Result<()> {
    let mut ebpf = Ebpf::load(objects::EVENT_MAPS)?;
    let program = fexit(&mut ebpf, "to_counts")?;
    program.load_target(&Target::Section, &Btf::from_sys_fs()?)?;
    program.attach()?;
    for (name, created) in [
        ("counts", true),
        ("by_result", true),
        ("ring", false),
        ("events", false),
    ] {
        ensure!(
            map(&ebpf, name)?.is_created() == created,
            "`{name}`: created is not {created}"
        );
    }
    map(&ebpf, "events")?.fd()?;
    ensure!(
        map(&ebpf, "events")?.is_created(),
        "`events` was not created by asking for it"
    );
    Ok(())
}
