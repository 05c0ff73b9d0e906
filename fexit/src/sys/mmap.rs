//! Shared memory that the kernel and BPF programs write to meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{self, AtomicU32, AtomicU64, Ordering};

use super::call::{Mmap, Syscall, syscall};
use super::page_size;

/// A shared mapping of a map or of a perf event.
///
/// Every access has a range. A range outside of the mapping panics, as indexing a slice does.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to no thread, and is only touched by volatile or atomic accesses.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Maps `len` bytes (rounded up to pages) from `offset` on, to read and, if `writable`, to write.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        offset: usize,
        len: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let len = len.max(1).next_multiple_of(page_size());
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let start = map(Mmap {
            fd,
            address: 0,
            offset,
            len,
            protection: libc::PROT_READ | write,
            flags: libc::MAP_SHARED,
        })?;
        Ok(Self { start, len })
    }

    /// Maps `len` bytes, a number of pages, to read and write, at this address if it is free; at any if it is 0.
    pub(crate) fn map_at(fd: BorrowedFd<'_>, address: u64, len: usize) -> io::Result<Self> {
        let start = map(Mmap {
            fd,
            address: usize::try_from(address).map_err(io::Error::other)?,
            offset: 0,
            len,
            protection: libc::PROT_READ | libc::PROT_WRITE,
            flags: libc::MAP_SHARED,
        })?;
        Ok(Self { start, len })
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "{len} bytes at {offset} are not in a mapping of {}",
            self.len
        );
        // SAFETY: the range is inside the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// Copies bytes from `offset`; an aligned word is read by one access.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) {
        // SAFETY: `at` checked the range, which lives as long as `self`.
        unsafe { copy(self.at(offset, to.len()), to.as_mut_ptr(), to.len()) }
    }

    /// Copies bytes to `offset` of a writable mapping; an aligned word is written by one access.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) {
        // SAFETY: `at` checked the range, which lives as long as `self`.
        unsafe { copy(from.as_ptr(), self.at(offset, from.len()), from.len()) }
    }

    /// Borrows bytes.
    ///
    /// # Safety
    ///
    /// Neither the kernel, nor a program, nor another process may write to them during the borrow.
    pub(super) unsafe fn as_slice(&self, offset: usize, len: usize) -> &[u8] {
        // SAFETY: `at` checked the range, which lives as long as `self`; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at(offset, len), len) }
    }

    /// Loads the word at `offset` with acquire ordering.
    pub(crate) fn load(&self, offset: usize) -> u64 {
        self.atomic(offset).load(Ordering::Acquire)
    }

    /// Loads the half word at `offset` with acquire ordering.
    pub(crate) fn load_u32(&self, offset: usize) -> u32 {
        self.atomic_u32(offset).load(Ordering::Acquire)
    }

    /// Stores the half word at `offset` of a writable mapping with release ordering.
    #[cfg(test)]
    pub(crate) fn store_u32(&self, offset: usize, value: u32) {
        self.atomic_u32(offset).store(value, Ordering::Release);
    }

    /// Stores the word at `offset` of a writable mapping with release ordering.
    pub(crate) fn store(&self, offset: usize, value: u64) {
        #[cfg(test)]
        if delayed::store(self.at(offset, 8), value) {
            return;
        }
        self.atomic(offset).store(value, Ordering::Release);
    }

    fn atomic(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8), "{offset} is not aligned");
        // SAFETY: the range was checked, mappings begin at a page, and the kernel too writes such words atomically.
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }
    }

    fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "{offset} is not aligned");
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `map` made, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A full fence: stores before it are visible to others before loads after it.
pub(super) fn fence() {
    #[cfg(test)]
    delayed::show();
    atomic::fence(Ordering::SeqCst);
}

#[cfg(test)]
pub(super) use delayed::delay_stores;

/// Delays stores until a fence, as a CPU may.
#[cfg(test)]
mod delayed {
    use super::*;
    use std::cell::RefCell;

    thread_local!(static STORES: RefCell<Option<Vec<(*mut u8, u64)>>> = const { RefCell::new(None) });

    /// From now on this thread's stores are delayed.
    pub(in super::super) fn delay_stores() {
        STORES.set(Some(Vec::new()));
    }

    pub(super) fn store(at: *mut u8, value: u64) -> bool {
        STORES.with_borrow_mut(|stores| stores.as_mut().map(|all| all.push((at, value))).is_some())
    }

    pub(super) fn show() {
        let stores = STORES.with_borrow_mut(|stores| stores.as_mut().map(std::mem::take));
        for (at, value) in stores.into_iter().flatten() {
            // SAFETY: an aligned word of a mapping that is still there when its owner calls for a fence.
            unsafe { AtomicU64::from_ptr(at.cast()) }.store(value, Ordering::Release);
        }
    }
}

fn map(mapping: Mmap<'_>) -> io::Result<NonNull<u8>> {
    let start = syscall(Syscall::Mmap(mapping))?;
    NonNull::new(start as *mut u8).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A file of the kernel that never changes, mapped for reading.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to no thread, and nothing writes to it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first `len` bytes of `file`, which must be in sysfs: another file could change meanwhile.
    pub(crate) fn read_only(file: &std::fs::File, len: usize) -> io::Result<Self> {
        let start = map(Mmap {
            fd: file.as_fd(),
            address: 0,
            offset: 0,
            len,
            protection: libc::PROT_READ,
            flags: libc::MAP_PRIVATE,
        })?;
        Ok(Self { start, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `len` bytes, lives as long as `self`, and nothing writes to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `read_only` made, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Copies by volatile accesses; a word by one access, so that no reader sees half of it.
///
/// # Safety
///
/// `from` must be readable and `to` writable for `len` bytes.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise covers all of it; a word access is made only where both sides are aligned for it.
    unsafe {
        if len == 8 && from.cast::<u64>().is_aligned() && to.cast::<u64>().is_aligned() {
            to.cast::<u64>()
                .write_volatile(from.cast::<u64>().read_volatile());
        } else if len == 4 && from.cast::<u32>().is_aligned() && to.cast::<u32>().is_aligned() {
            to.cast::<u32>()
                .write_volatile(from.cast::<u32>().read_volatile());
        } else {
            for i in 0..len {
                to.add(i).write_volatile(from.add(i).read_volatile());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(len: u64) -> std::fs::File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        file
    }

    #[test]
    fn written_bytes_are_read_through_another_mapping() {
        let file = file(8192);
        let a = SharedMemory::map(file.as_fd(), 0, 8192, true).unwrap();
        let b = SharedMemory::map(file.as_fd(), 4096, 100, false).unwrap();
        a.write(4096 + 3, &[1, 2, 3, 4, 5]);
        let mut back = [0; 5];
        b.read(3, &mut back);
        assert_eq!(back, [1, 2, 3, 4, 5]);
        a.store(4096 + 16, 0x1122);
        assert_eq!(b.load(16), 0x1122);
        b.read(16, &mut back[..2]);
        assert_eq!(back[..2], 0x1122_u64.to_le_bytes()[..2]);
        a.store_u32(4096 + 20, 7);
        assert_eq!((b.load_u32(16), b.load_u32(20)), (0x1122, 7));
    }

    #[test]
    #[should_panic(expected = "not in a mapping")]
    fn range_outside_of_the_mapping_panics() {
        let file = file(4096);
        let memory = SharedMemory::map(file.as_fd(), 0, 4096, true).unwrap();
        memory.write(4095, &[1, 2]);
    }
}
