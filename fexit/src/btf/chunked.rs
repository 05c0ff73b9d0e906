//! Reads a long file in chunks, with one small buffer.

use std::io::Read;
use std::ops::ControlFlow;

/// The length limit of an item. The kernel returns at most a page per read.
const BUFFER: usize = 64 << 10;

/// Passes chunks of `from` to `take`, which returns how many bytes it consumed, or breaks with a result. The next chunk
/// begins with the bytes that are left.
///
/// `None` at the end, on a read error, or if `take` consumes nothing of a full buffer of [`BUFFER`] bytes.
pub(super) fn read_chunked<T>(
    mut from: impl Read,
    mut take: impl FnMut(&[u8]) -> ControlFlow<T, usize>,
) -> Option<T> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let read = from.read(&mut buffer[filled..]).ok()?;
        if read == 0 {
            return None;
        }
        filled += read;
        let done = match take(&buffer[..filled]) {
            ControlFlow::Continue(done) => done.min(filled),
            ControlFlow::Break(result) => return Some(result),
        };
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}
