//! The shared memory for the output of a command.
//!
//! The guest writes the output there, and announces each part by a frame on the serial port
//! ([`Frame::SharedStdout`](crate::frame::Frame::SharedStdout)), so that the host need not poll. The host reads the part,
//! and then stores at the start of the memory how many bytes it has read in all, so that the guest can reuse their room.
//! Both count the bytes from the start of the command; the memory after the first page is a ring.

use std::ops::Range;

/// The size of the memory. QEMU needs a power of two.
pub const BYTES: usize = 4 << 20;

/// The offset of the ring: the first page has the number of bytes that the host has read, as a `u64`.
const RING: usize = 4096;

/// The bytes that may be announced and not read.
pub const CAPACITY: usize = BYTES - RING;

/// Where the bytes from number `at` on are in the memory: at most `length`, less before the end of the ring.
pub fn place(at: u64, length: usize) -> Range<usize> {
    let start = usize::try_from(at % CAPACITY as u64).unwrap_or(0);
    RING + start..RING + start.saturating_add(length).min(CAPACITY)
}

/// How many bytes fit, after `written` bytes of which the host has read `read`; none if the host claims more.
pub fn room(written: u64, read: u64) -> usize {
    let unread = written.checked_sub(read);
    let unread = unread.and_then(|unread| usize::try_from(unread).ok());
    unread.map_or(0, |unread| CAPACITY.saturating_sub(unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_around_the_ring() {
        assert_eq!(place(0, 10), 4096..4106);
        assert_eq!(place(10, 10), 4106..4116);
        let last = CAPACITY as u64 - 3;
        assert_eq!(place(last, 10), BYTES - 3..BYTES);
        assert_eq!(place(last + 3, 10), 4096..4106);
        assert_eq!(place(5, usize::MAX), 4101..BYTES);
    }

    #[test]
    fn room_is_what_the_host_has_read() {
        assert_eq!(room(0, 0), CAPACITY);
        assert_eq!(room(CAPACITY as u64, 0), 0);
        assert_eq!(room(u64::MAX, u64::MAX - 1), CAPACITY - 1);
        assert_eq!(room(CAPACITY as u64, 7), 7);
        assert_eq!(room(0, 1), 0);
        assert_eq!(room(u64::MAX, 0), 0);
    }
}
