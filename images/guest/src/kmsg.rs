//! Reads the kernel's log and finds splats in it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use protocol::job::LOG_MARK;
use protocol::splats::{self, CUT_HERE, Severity};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// The device of the log.
pub(crate) const KMSG: &str = "/dev/kmsg";

/// The most lines of a splat that are kept.
const LINES: usize = 60;

/// A reader of the kernel's log. A read error is reported, because a splat would go unseen.
pub(crate) struct KernelLog(File);

impl KernelLog {
    /// Opens the log, writes a marker to it, and checks that the marker can be read.
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        let mut log = Self::reopen(path)?;
        // At a level that reaches the console. The newline completes the record.
        log.0
            .write_all(format!("<4>{LOG_MARK}\n").as_bytes())
            .map_err(|error| format!("cannot write to {path}: {error}"))?;
        let mut marked = false;
        log.each(|record| marked |= String::from_utf8_lossy(record).contains(LOG_MARK))?;
        marked
            .then_some(log)
            .ok_or_else(|| format!("a marker written to {path} cannot be read from it"))
    }

    /// Opens one more reader of a log that is known to be readable.
    pub(crate) fn reopen(path: &str) -> Result<Self, String> {
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nonblock)
            .open(path);
        let mut log = Self(log.map_err(|error| format!("cannot open {path}: {error}"))?);
        log.skip()?;
        Ok(log)
    }

    /// Skips what was logged so far.
    pub(crate) fn skip(&mut self) -> Result<(), String> {
        let end = self.0.seek(SeekFrom::End(0));
        end.map(drop)
            .map_err(|error| format!("cannot seek to the end of the log: {error}"))
    }

    /// The first splat since [`KernelLog::skip`], with the lines that follow it.
    pub(crate) fn splat(&mut self) -> Result<Option<String>, String> {
        let mut splat = Splat::default();
        self.each(|record| splat.take(record))?;
        Ok(splat.text())
    }

    /// Reads all new records.
    fn each(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let mut record = [0; 8192];
        loop {
            let read = self.0.read(&mut record);
            match read.map_err(|error| Errno::from_io_error(&error).ok_or(error)) {
                Ok(0) | Err(Ok(Errno::AGAIN)) => return Ok(()), // No more records.
                Ok(len) => take(&record[..len]),
                Err(Ok(Errno::INTR)) => {}
                Err(Ok(Errno::PIPE)) => {
                    return Err("it was overwritten before it was read".to_owned());
                }
                Err(Ok(error)) => return Err(error.to_string()),
                Err(Err(error)) => return Err(error.to_string()),
            }
        }
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
    let facility = priority >> 3; // 0 is the kernel; user space cannot write records with it.
    (facility == 0).then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// Stalls do not count: a busy host causes them, too.
fn is_splat(line: &str) -> bool {
    line.starts_with(CUT_HERE)
        || splats::find(line).is_some_and(|pattern| pattern.severity > Severity::Stall)
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
    fn warning_is_found_with_the_lines_after_it() {
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
    fn each_type_of_splat_is_found() {
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
    fn other_records_are_not_splats() {
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
    fn unreadable_log_is_an_error() {
        let file = tempfile();
        for (path, why) in [
            ("/no/such/log", "cannot open /no/such/log: No such file"),
            ("/dev/full", "cannot write to /dev/full: No space left"),
            (&file, "cannot be read from it"),
        ] {
            let error = KernelLog::open(path).err().unwrap_or_default();
            assert!(error.contains(why), "{error} should say {why}");
        }
    }

    /// A regular file: what is written moves the offset, so it is not read.
    fn tempfile() -> String {
        let path = std::env::temp_dir().join(format!("kmsg-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        path.display().to_string()
    }

    #[test]
    fn long_splat_is_truncated() {
        let mut records = vec!["4,1,2,-;WARNING: CPU: 0\n"];
        records.extend(["4,1,2,-;more\n"; 500]);
        assert_eq!(splat(&records).unwrap().lines().count(), LINES);
    }
}
