//! Reading a long file in chunks, in one small buffer.

use std::io::Read;
use std::ops::ControlFlow;

/// The length limit of an item; the kernel hands over a page at a time anyway.
const BUFFER: usize = 64 << 10;

/// Hands chunks of `from` to `take`, which returns how many bytes it has consumed and gets the others again, followed by
/// more; or breaks with a result.
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
