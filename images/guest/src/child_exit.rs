//! Makes the exit of a child pollable. Pidfds do the same, but need 5.3; distributions backported trampolines to 4.18.

use std::io::{self, PipeReader};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The stack of a thread that only waits, in bytes.
const STACK: usize = 64 << 10;

/// Returns a descriptor that becomes readable when the child exits. The caller still waits for the child.
pub(crate) fn watch(child: Pid) -> io::Result<PipeReader> {
    let (end, held) = io::pipe()?;
    thread::Builder::new().stack_size(STACK).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Any other error means that the child was waited for already.
        while let Err(Errno::INTR) = waitid(WaitId::Pid(child), options) {}
        drop(held);
    })?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn has_exited(end: &PipeReader, within: Duration) -> bool {
        let within = Timespec::try_from(within).unwrap();
        poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&within)).unwrap() == 1
    }

    #[test]
    fn descriptor_is_readable_after_the_exit_and_the_status_remains() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let end = watch(Pid::from_child(&child)).unwrap();
        assert!(!has_exited(&end, Duration::ZERO));
        child.kill().unwrap();
        assert!(has_exited(&end, Duration::from_secs(60)));
        assert!(!child.wait().unwrap().success());
        // A child that was waited for has exited, too.
        let gone = watch(Pid::from_child(&child)).unwrap();
        assert!(has_exited(&gone, Duration::from_secs(60)));
    }
}
