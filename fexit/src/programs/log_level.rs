//! How much the verifier logs.

use bitflags::bitflags;

bitflags! {
    /// What the verifier logs about a program that it accepts; a refused program gets its log in any case.
    ///
    /// # Minimum kernel version
    ///
    /// 3.18; the figures 5.2. Source: kernel commit 06ee7115b0d1 ("bpf: add verifier stats and log_level bit 2").
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VerifierLogLevel: u32 {
        /// Nothing.
        const DISABLE = 0;
        /// The state on the last path that it followed.
        const DEBUG = 1;
        /// Every step.
        const VERBOSE = 2 | Self::DEBUG.bits();
        /// How many instructions and states it took.
        const STATS = 4;
    }
}
