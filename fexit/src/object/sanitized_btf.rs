//! The object's BTF in a form that the running kernel accepts.

use std::io;
use std::os::fd::OwnedFd;

use aya_obj::btf::{Btf, BtfFeatures};

use super::{Parsed, catch_parser_panic};
use crate::sys;

/// The object's BTF as this kernel accepts it.
pub(super) struct SanitizedBtf {
    pub(super) btf: Btf,
    pub(super) fd: OwnedFd,
    /// Whether declaration tags are in it.
    pub(super) has_decl_tags: bool,
}

/// Removes the kinds of BTF that this kernel does not know, the newest first; none if it accepts no form.
///
/// # Errors
///
/// A lack of rights, of memory or of descriptors: the kernel did not judge the BTF.
pub(super) fn sanitize(parsed: &Parsed) -> io::Result<Option<SanitizedBtf>> {
    const KINDS: usize = 8;
    if parsed.btf.is_none() {
        return Ok(None);
    }
    for known in (0..=KINDS).rev() {
        // func 5.0, datasec 5.2, global func 5.6, empty datasec 5.12, float 5.13, decl_tag 5.16, type_tag 5.17, enum64 6.0
        let has = |kind: usize| kind < known;
        let features = BtfFeatures::new(
            has(0),
            has(2),
            has(1),
            has(3),
            has(4),
            has(5),
            has(6),
            has(7),
        );
        let mut object = parsed.clone();
        let bytes = catch_parser_panic(|| {
            object
                .fixup_and_sanitize_btf(&features)
                .ok()
                .flatten()
                .map(Btf::to_bytes)
        });
        let (Ok(Some(bytes)), Some(btf)) = (bytes, object.btf) else {
            return Ok(None);
        };
        match sys::with_memlock(|| sys::btf_load(&bytes, &mut [])) {
            Ok(fd) => {
                return Ok(Some(SanitizedBtf {
                    btf,
                    fd,
                    has_decl_tags: has(5),
                }));
            }
            Err(error) if is_temporary(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Whether the same call may succeed later.
fn is_temporary(error: &io::Error) -> bool {
    use libc::{EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM};
    let errno = error.raw_os_error().unwrap_or(0);
    [EPERM, ENOMEM, EMFILE, ENFILE, EAGAIN, EINTR, ENOSPC].contains(&errno)
}

#[cfg(test)]
mod tests {
    use aya_obj::generated::bpf_cmd::BPF_BTF_LOAD;

    use crate::object::{Globals, Object};
    use crate::sys::fake;
    use crate::testing::compile;

    /// An object, and a kernel whose first `BPF_BTF_LOAD` fails with this error, and that does not raise the limit.
    fn refused_once(errno: i32) -> Object {
        let source = "SEC(\"fexit/f\") int probe(void *ctx) { return 0; }";
        let kernel = fake::kernel(move |call| {
            (call.cmd == BPF_BTF_LOAD && call.before == 0).then_some(errno)
        });
        kernel.memlock.set((1 << 16, 1 << 16));
        Object::parse(&compile(source), &Globals::new()).unwrap()
    }

    #[test]
    fn temporary_error_is_not_remembered() {
        for errno in [libc::EPERM, libc::ENOMEM, libc::EMFILE] {
            let object = refused_once(errno);
            assert!(object.btf_fd().is_none(), "{errno}");
            assert!(object.btf_fd().is_some(), "{errno}");
        }
    }

    #[test]
    fn without_rights_a_program_is_relocated_and_a_shortage_is_an_error() {
        let relocated = |errno| {
            let object = refused_once(errno);
            object.relocated("probe", None, || unreachable!()).map(drop)
        };
        assert!(relocated(libc::EPERM).is_ok());
        assert!(
            relocated(libc::ENOMEM)
                .unwrap_err()
                .to_string()
                .contains("BPF_BTF_LOAD")
        );
    }
}
