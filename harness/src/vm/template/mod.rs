//! VM templates: a VM that was saved while its init waited, from which later VMs start.
//!
//! A template is a folder of the cache: the guest's memory as a sparse file, the state of the devices, and a note that
//! describes both. Later VMs map the memory privately: QEMU reads it as needed and never writes it. The job of a VM comes
//! after the restore, as the archive that would be the initramfs of a cold boot; see [`protocol::handover`].

mod key;
mod restore;
mod save;
mod store;

pub use self::restore::Template;
pub(super) use self::restore::empty;
pub use self::store::{Kept, Templates};
