//! Reading what is too long to hold, piece by piece.

use std::io::Read;
use std::ops::ControlFlow;

/// The most that an item may have; the kernel hands over a page at a time anyway.
const BUFFER: usize = 64 << 10;

/// Gives `take` what is there of `from`, again and again. It says how many bytes it is done with, and gets the others
/// again with more behind them; or it breaks off, with a result.
///
/// `None` at the end, or where it cannot be read on, or when `take` wants more than [`BUFFER`] at once.
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
