//! The end of a child as something to poll for beside its output. Pidfds could do that, but only from 5.3 on, and
//! distributions carried trampolines back to 4.18.

use std::io::{self, PipeReader};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What a thread needs that only waits.
const STACK: usize = 64 << 10;

/// A descriptor that becomes readable when the child ends. The child is left to be waited for.
pub(crate) fn of(child: Pid) -> io::Result<PipeReader> {
    let (end, held) = io::pipe()?;
    thread::Builder::new().stack_size(STACK).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // Any other error says that somebody else has waited for it.
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

    fn is_over(end: &PipeReader, within: Duration) -> bool {
        let within = Timespec::try_from(within).unwrap();
        poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&within)).unwrap() == 1
    }

    #[test]
    fn a_child_is_over_when_it_ends_and_still_has_its_status() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let end = of(Pid::from_child(&child)).unwrap();
        assert!(!is_over(&end, Duration::ZERO));
        child.kill().unwrap();
        assert!(is_over(&end, Duration::from_secs(60)));
        assert!(!child.wait().unwrap().success());
        // One that has been waited for is over as well.
        let gone = of(Pid::from_child(&child)).unwrap();
        assert!(is_over(&gone, Duration::from_secs(60)));
    }
}
