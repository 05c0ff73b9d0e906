//! How much the verifier logs.

use bitflags::bitflags;

bitflags! {
    /// The verifier's log of an accepted program; a refused program always gets a log.
    ///
    /// # Minimum kernel version
    ///
    /// 3.18; the figures 5.2. Source: kernel commit 06ee7115b0d1 ("bpf: add verifier stats and log_level bit 2").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VerifierLogLevel: u32 {
        /// Nothing.
        const DISABLE = 0;
        /// The states on the last path.
        const DEBUG = 1;
        /// Every step.
        const VERBOSE = 2 | Self::DEBUG.bits();
        /// The number of instructions and states.
        const STATS = 4;
    }
}
