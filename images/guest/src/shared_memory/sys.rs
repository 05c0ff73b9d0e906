//! Unsafe calls: mapped memory.
#![allow(unsafe_code)] // memory of a device has no safe interface

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr;

use rustix::io::{Errno, Result, read};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Memory of a device.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    length: usize,
    writable: bool,
}

impl Mapping {
    pub(super) fn new(file: &File, length: usize, writable: bool) -> Result<Self> {
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )?
        };
        Ok(Self {
            start: start.cast(),
            length,
            writable,
        })
    }

    /// The first eight bytes; each call reads them again. Zeroes if the memory is shorter.
    pub fn first(&self) -> [u8; 8] {
        if self.length < 8 {
            return [0; 8];
        }
        // SAFETY: the mapping lives as long as `self`, begins with a page, and so is aligned and long enough.
        unsafe { self.start.cast::<[u8; 8]>().read_volatile() }
    }

    /// The memory, which the host must not write to any more.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has this length and lives as long as `self`; the host has written all of it before the VM
        // runs, and nothing writes to it afterwards: a caller that writes uses `read_from`.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }

    /// Reads once from `file` into this range of the memory. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// The error of read(2); `EFAULT` if the range is not within writable memory.
    pub fn read_from(&mut self, file: &File, range: Range<usize>) -> Result<usize> {
        if !self.writable || range.start > range.end || range.end > self.length {
            return Err(Errno::FAULT);
        }
        // SAFETY: the range is in the mapping, which is writable and lives as long as `self`. `&mut self` excludes other
        // uses here; the host only reads this range, and only after it was announced.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) };
        read(file, bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more, and nothing else unmaps it.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn bytes_are_read_into_the_range_and_not_beyond_the_memory() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let mut memory = Mapping::new(&file, 4096, true).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        writer.write_all(b"0123456789").unwrap();
        assert_eq!(memory.read_from(&reader, 100..104), Ok(4));
        assert_eq!(memory.read_from(&reader, 0..8), Ok(6));
        assert_eq!(&memory.bytes()[100..105], b"0123\0");
        assert_eq!(memory.first(), *b"456789\0\0");
        assert_eq!(memory.read_from(&reader, 4090..4097), Err(Errno::FAULT));
        let mut read_only = Mapping::new(&file, 4096, false).unwrap();
        assert_eq!(read_only.read_from(&reader, 0..8), Err(Errno::FAULT));
    }
}
