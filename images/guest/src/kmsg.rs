//! The kernel's log, and what in it spoils a run.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// What a line begins with that says that the kernel is not well, and why each is here.
const SPLATS: &[(&str, &str)] = &[
    (
        "------------[ cut here ]------------",
        "opens what WARN and BUG print",
    ),
    ("WARNING: ", "WARN, lockdep, suspicious RCU usage"),
    (
        "BUG: ",
        "bad page faults, KASAN, sleeping in atomic context, bad page state",
    ),
    ("kernel BUG at ", "BUG"),
    ("Oops", "an exception in the kernel"),
    ("general protection fault", "a wild pointer on x86"),
    ("divide error: ", "an exception in the kernel"),
    (
        "invalid opcode: ",
        "jumped into what is no code, as a trampoline freed too early",
    ),
    ("int3: ", "code that was being patched when it ran"),
    ("stack segment: ", "a wild stack pointer"),
    ("refcount_t: ", "an object freed twice or leaked"),
    ("list_add ", "a corrupted list"),
    ("list_del ", "a corrupted list"),
    ("UBSAN: ", "undefined behaviour"),
    ("kmemleak: ", "a leak"),
    (
        "INFO: trying to register non-static key",
        "lockdep, on memory that is no lock",
    ),
    (
        "Kernel panic - not syncing",
        "the end; seldom read from here",
    ),
];

/// Lines that match above, but only say that the emulator had to wait: that says nothing about the kernel.
const HARMLESS: &[&str] = &["BUG: soft lockup", "BUG: workqueue lockup"];

/// How many lines of a splat are kept.
const LINES: usize = 60;

/// The kernel's log from some moment on.
pub(crate) struct KernelLog(File);

impl KernelLog {
    pub(crate) fn open() -> io::Result<Self> {
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open("/dev/kmsg")
            .map(Self)
    }

    /// Forgets what was logged so far.
    pub(crate) fn skip(&mut self) {
        // The log can always be sought to its end.
        let _ = self.0.seek(SeekFrom::End(0));
    }

    /// The first splat since [`KernelLog::skip`], with the lines that follow it.
    pub(crate) fn splat(&mut self) -> Option<String> {
        let mut record = [0; 8192];
        let mut splat = Splat::default();
        loop {
            match self.0.read(&mut record) {
                Ok(0) => break,
                Ok(len) => splat.take(&record[..len]),
                // Records were overwritten before they were read; the next read goes on behind them.
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
                Err(_) => break, // EAGAIN: that was all.
            }
        }
        splat.text()
    }
}

/// Collects the first splat of a stream of records.
#[derive(Default)]
struct Splat(Vec<String>);

impl Splat {
    fn take(&mut self, record: &[u8]) {
        let Some(text) = kernel_text(record) else {
            return;
        };
        if self.0.is_empty() && !is_splat(&text) || self.0.len() >= LINES {
            return;
        }
        self.0.push(text);
    }

    fn text(self) -> Option<String> {
        let is_rule = |line: &String| line.starts_with("---");
        let lines: Vec<String> = self.0.into_iter().skip_while(is_rule).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// The text of a record that the kernel itself wrote: `PRIORITY,SEQUENCE,TIME,FLAGS[,...];TEXT\n KEY=VALUE...`
fn kernel_text(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let facility = priority >> 3; // 0 is the kernel; user space, which writes here too, cannot claim it.
    (facility == 0).then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn is_splat(line: &str) -> bool {
    // Some subsystems put their name in front.
    let line = ["watchdog: ", "rcu: ", "PANIC: "]
        .iter()
        .find_map(|p| line.strip_prefix(p))
        .unwrap_or(line);
    SPLATS.iter().any(|(start, _)| line.starts_with(start))
        && !HARMLESS.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splat(records: &[&str]) -> Option<String> {
        let mut splat = Splat::default();
        records
            .iter()
            .for_each(|record| splat.take(record.as_bytes()));
        splat.text()
    }

    #[test]
    fn a_warning_is_found_with_what_follows_it() {
        let text = splat(&[
            "6,801,1000,-;bpf: all is well\n",
            "4,802,1001,-;------------[ cut here ]------------\n",
            "4,803,1002,-,caller=T12;WARNING: CPU: 0 PID: 12 at kernel/bpf/trampoline.c:60 f+0x1/0x2\n SUBSYSTEM=x\n",
            "4,804,1003,-;Modules linked in:\n",
        ]);
        let expected =
            "WARNING: CPU: 0 PID: 12 at kernel/bpf/trampoline.c:60 f+0x1/0x2\nModules linked in:";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn each_kind_of_splat_is_found() {
        for line in [
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "BUG: unable to handle page fault for address: ffffffffc0000000",
            "Oops: 0000 [#1] SMP PTI",
            "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
            "kernel BUG at mm/slub.c:305!",
            "refcount_t: underflow; use-after-free.",
            "invalid opcode: 0000 [#1] SMP",
            "WARNING: suspicious RCU usage",
        ] {
            assert_eq!(
                splat(&[&format!("1,5,6,-;{line}\n")]).as_deref(),
                Some(line)
            );
        }
    }

    #[test]
    fn what_is_no_splat_is_left_alone() {
        for record in [
            "6,1,2,-;random: crng init done\n",
            // Written by user space: facility 1.
            "12,1,2,-;WARNING: CPU: 0 PID: 1 at nowhere\n",
            "4,1,2,-;Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on\n",
            "0,1,2,-;watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]\n",
            "3,1,2,-;rcu: INFO: rcu_sched self-detected stall on CPU\n",
            "garbage without a head",
            "x,y;WARNING: no priority\n",
            "",
        ] {
            assert_eq!(splat(&[record]), None, "{record}");
        }
    }

    #[test]
    fn a_long_splat_is_cut() {
        let mut records = vec!["4,1,2,-;WARNING: CPU: 0\n"];
        records.extend(["4,1,2,-;more\n"; 500]);
        assert_eq!(splat(&records).unwrap().lines().count(), LINES);
    }
}
