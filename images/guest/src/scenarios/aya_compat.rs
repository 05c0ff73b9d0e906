//! The same source, compiled with aya's imports and with fexit's, behaves the same.

use anyhow::{Result, ensure};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::scenario::{Context, scenarios};

scenarios! {
    moved_from_aya(RingBuf).parallel(): "a program written for aya behaves the same with its imports changed to fexit";
}

/// How many calls the program must see.
const CALLS: u64 = 4;

/// How many calls the program reported, by channel.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    in_hash: u64,
    in_array: i64,
    in_per_cpu_hash: u64,
    in_ring: u64,
    in_perf: u64,
    while_pinned: u64,
    after: u64,
}

/// A path lookup that fails with ENOTDIR, as no other lookup here does.
fn look_up() -> Result<()> {
    for _ in 0..CALLS {
        let result = access("/proc/uptime/below", Access::EXISTS);
        ensure!(
            result == Err(Errno::NOTDIR),
            "the lookup returned {result:?}, not ENOTDIR"
        );
    }
    Ok(())
}

macro_rules! program {
    ($name:ident, $library:ident) => {
        #[allow(clippy::useless_conversion, reason = "for one of the two it is")]
        mod $name {
            use std::os::fd::{AsFd, AsRawFd};
            use std::path::Path;
            use std::process;
            use std::thread;
            use std::time::Duration;

            use anyhow::{Context as _, Result, ensure};
            use $library::maps::perf::{PerfEvent, PerfEventArrayBuffer};
            use $library::maps::{
                Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
                PerfEventArray, RingBuf,
            };
            use $library::programs::fexit::{FExit, FExitLink, FExitLinkId};
            use $library::programs::links::{FdLink, Link, PinnedLink};
            use $library::programs::{Program, ProgramError, loaded_links, loaded_programs};
            use $library::util::{nr_cpus, online_cpus};
            use $library::{Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel};

            use super::{Seen, look_up};
            use crate::objects;

            /// The return value of the traced function: `-ENOTDIR`.
            const RET: i32 = -20;

            pub(super) fn run() -> Result<Seen> {
                let mut seen = Seen::default();
                let btf = Btf::from_sys_fs()?;
                maps(&btf, &mut seen)?;
                streams(&btf, &mut seen)?;
                let btf = Btf::parse_file("/sys/kernel/btf/vmlinux", Endianness::default())?;
                links(&btf, &mut seen)?;
                Ok(seen)
            }

            /// Loads the object; its programs count the calls of this process.
            fn load(object: &[u8], btf: &Btf) -> Result<Ebpf> {
                Ok(EbpfLoader::new()
                    .btf(Some(btf))
                    .override_global("tgid", &process::id(), true)
                    .override_global("no_such_variable", [1u8, 2].as_slice(), false)
                    .verifier_log_level(VerifierLogLevel::STATS)
                    .load(object)?)
            }

            fn attach(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<FExitLinkId> {
                let program: &mut FExit =
                    ebpf.program_mut(name).context("no program")?.try_into()?;
                program.load("filename_lookup", btf)?;
                ensure!(program.fd()?.as_fd().as_raw_fd() > 2);
                let info = program.info()?;
                ensure!(info.id() != 0 && info.tag() != 0);
                ensure!(info.name_as_str() == Some(name));
                ensure!(info.size_jitted() > 0 && info.size_translated() > Some(8));
                ensure!(info.created_by_uid() == Some(0) && info.gpl_compatible() == Some(true));
                ensure!(info.verified_instruction_count() != Some(1));
                ensure!(info.fd()?.as_fd().as_raw_fd() > 2);
                let mut programs = loaded_programs().filter_map(Result::ok);
                ensure!(programs.any(|other| other.tag() == info.tag()));
                Ok(program.attach()?)
            }

            fn maps(btf: &Btf, seen: &mut Seen) -> Result<()> {
                let mut ebpf = load(objects::MAPS, btf)?;
                for (name, program) in ebpf.programs() {
                    ensure!(name == "maps" && matches!(program, Program::FExit(_)));
                    ensure!(matches!(program.fd(), Err(ProgramError::NotLoaded)));
                }
                let mut by_result: HashMap<_, i32, u64> =
                    HashMap::try_from(ebpf.map_mut("by_result").context("no map")?)?;
                by_result.insert(RET, 0, 0)?;
                let link = attach(&mut ebpf, "maps", btf)?;
                look_up()?;
                let program: &mut FExit =
                    ebpf.program_mut("maps").context("no program")?.try_into()?;
                program.detach(link)?;
                program.unload()?;
                let by_result: HashMap<&MapData, i32, u64> =
                    ebpf.map("by_result").context("no map")?.try_into()?;
                for element in by_result.iter() {
                    let (key, value) = element?;
                    ensure!(by_result.get(&key, 0)? == value);
                }
                ensure!(by_result.keys().any(|key| key.is_ok_and(|key| key == RET)));
                ensure!(by_result.get(&12345, 0).is_err());
                seen.in_hash = by_result.get(&RET, 0)?;
                let slots: Map = ebpf.take_map("slots").context("no map")?;
                let mut slots: Array<MapData, i64> = slots.try_into()?;
                seen.in_array = slots.get(&2, 0)?;
                slots.set(2, 0, 0)?;
                ensure!(slots.len() == 3 && slots.iter().count() == 3);
                let wrong: Result<RingBuf<_>, MapError> =
                    ebpf.map("by_result").context("no map")?.try_into();
                ensure!(wrong.is_err());
                Ok(())
            }

            fn streams(btf: &Btf, seen: &mut Seen) -> Result<()> {
                let mut ebpf = load(objects::EVENT_MAPS, btf)?;
                let cpus = nr_cpus().map_err(|(_, error)| error)?;
                let mut counts: PerCpuArray<_, u32> =
                    ebpf.map_mut("counts").context("no map")?.try_into()?;
                counts.set(0, PerCpuValues::try_from(vec![7; cpus])?, 0)?;
                ensure!(counts.get(&0, 0)?.iter().all(|&count| count == 7));

                let events = ebpf.take_map("events").context("no map")?;
                let mut events = PerfEventArray::try_from(events)?;
                let mut buffers = Vec::new();
                for cpu in online_cpus().map_err(|(_, error)| error)? {
                    let buffer: PerfEventArrayBuffer<MapData> = events.open(cpu, Some(4))?;
                    buffers.push(buffer);
                }
                let mut ring = RingBuf::try_from(ebpf.take_map("ring").context("no map")?)?;
                ensure!(ring.as_raw_fd() > 2 && ring.next().is_none());
                for program in ["to_events", "to_ring", "to_counts"] {
                    attach(&mut ebpf, program, btf)?;
                }
                look_up()?;

                while let Some(record) = ring.next() {
                    seen.in_ring += u64::from(has_expected_return(&record));
                }
                for buffer in &mut buffers {
                    ensure!(buffer.as_raw_fd() > 2);
                    if buffer.readable() {
                        buffer.for_each(|event| {
                            if let PerfEvent::Sample { head, tail } = event {
                                let record = [head, tail].concat();
                                seen.in_perf += u64::from(has_expected_return(&record[..16]));
                            }
                        });
                    }
                }
                let by_result: PerCpuHashMap<_, i32, u64> =
                    ebpf.map("by_result").context("no map")?.try_into()?;
                seen.in_per_cpu_hash = by_result.get(&RET, 0)?.iter().sum();
                Ok(())
            }

            /// A record ends with the return value of the function.
            fn has_expected_return(record: &[u8]) -> bool {
                record.ends_with(&RET.to_ne_bytes())
            }

            fn links(btf: &Btf, seen: &mut Seen) -> Result<()> {
                let path = Path::new("/sys/fs/bpf/moved_from_aya");
                let mut ebpf = load(objects::MAPS, btf)?;
                let id = attach(&mut ebpf, "maps", btf)?;
                let program: &mut FExit =
                    ebpf.program_mut("maps").context("no program")?.try_into()?;
                let program_id = program.info()?.id();
                let is_linked = || {
                    let mut links = loaded_links().filter_map(Result::ok);
                    links.any(|link| link.id() != 0 && link.program_id() == program_id)
                };
                ensure!(is_linked());
                let link: FExitLink = program.take_link(id)?;
                let id: FExitLinkId = link.id();
                ensure!(id == link.id());
                let link: FdLink = link.into();
                let pinned: PinnedLink = link.pin(path)?;
                drop(pinned);
                program.unload()?;
                let by_result = ebpf.take_map("by_result").context("no map")?;
                let by_result: HashMap<_, i32, u64> = by_result.try_into()?;
                drop(ebpf);
                look_up()?;
                seen.while_pinned = by_result.get(&RET, 0)?;
                let link = PinnedLink::from_pin(path)?.unpin()?;
                Link::detach(FExitLink::from(link))?;
                // The kernel frees a pinned link asynchronously.
                for _ in 0..500 {
                    let before = by_result.get(&RET, 0)?;
                    look_up()?;
                    seen.after = by_result.get(&RET, 0)? - before;
                    if seen.after == 0 {
                        break;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
        }
    };
}

program!(with_aya, aya);
program!(with_fexit, fexit);

fn moved_from_aya(_: &mut Context) -> Result<()> {
    let ours = with_fexit::run()?;
    let expected = Seen {
        in_hash: CALLS,
        in_array: -20,
        in_per_cpu_hash: CALLS,
        in_ring: CALLS,
        in_perf: CALLS,
        while_pinned: CALLS,
        after: 0,
    };
    ensure!(
        ours == expected,
        "with the imports of fexit it saw {ours:?}, not {expected:?}"
    );
    let theirs = with_aya::run()?;
    ensure!(
        theirs == expected,
        "with the imports of aya it saw {theirs:?}, not {expected:?}"
    );
    Ok(())
}
