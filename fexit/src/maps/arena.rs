//! Arenas: their mapping, and the place of global variables in them.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya_obj::generated::{BPF_PSEUDO_MAP_VALUE, bpf_map_type, bpf_prog_type};

use super::global::Data;
use super::{Inner, Map, MapError, create};
use crate::object::arena;
use crate::probe;
use crate::sys::mmap::SharedMemory;
use crate::sys::{self, MapCreate, MapFd};

impl Map {
    pub(super) fn is_arena(&self) -> bool {
        arena::is_arena(&self.0.definition)
    }

    /// Maps an arena into the process, unless `map_extra` has its address: programs that use it can be loaded only if its
    /// address is known. Writes the initial values of global variables, for which it is mapped in any case. The map keeps
    /// the mapping.
    pub(super) fn map_arena(&self, fd: &MapFd) -> Result<(), MapError> {
        let Inner {
            name,
            definition,
            object,
            ..
        } = &*self.0;
        let (address, data) = (
            create::extra(name, definition, object.as_deref()),
            definition.data(),
        );
        if address != 0 && data.is_empty() {
            return Ok(());
        }
        let length = self.data_size();
        if data.len() > length {
            return Err(MapError::CreateError {
                name: name.clone(),
                definition: format!("an arena of {length} bytes"),
                hint: format!("; its global variables take {} bytes", data.len()),
                io_error: io::Error::from_raw_os_error(libc::E2BIG),
            });
        }
        let memory =
            SharedMemory::map_at(fd.as_fd(), address, length).map_err(self.error("mmap"))?;
        memory.write(self.data_offset(), data);
        let _ = self.0.data.set(Data::Mapped(memory));
        Ok(())
    }

    /// Where global variables begin in the map: in an arena at its last pages if the kernel accepts any offset into it, so
    /// that programs have its first pages, else at 0; both as in libbpf 1.7.
    pub(crate) fn data_offset(&self) -> usize {
        let length = self.0.definition.data().len();
        if length == 0 || !self.is_arena() {
            return 0;
        }
        *self.0.data_offset.get_or_init(|| {
            let pages = length.next_multiple_of(sys::page_size());
            let offset = self.data_size().saturating_sub(pages);
            if offset > 0 && accepts_any_offset() {
                offset
            } else {
                0
            }
        })
    }
}

/// Whether programs may refer to the value of a map at an offset of 512 MiB or more. Before Linux 7.0 the verifier refuses
/// such an offset at once, later it refuses one outside of the value.
///
/// Source: kernel commit 12a1fe6e12db ("bpf/verifier: Do not limit maximum direct offset into arena map").
fn accepts_any_offset() -> bool {
    const LD_IMM64: u8 = 0x18;
    const EXIT: u8 = 0x95;
    const OFFSET: i32 = 1 << 30;
    let array = MapCreate {
        map_type: bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        key_size: 4,
        value_size: 1,
        max_entries: 1,
        ..MapCreate::default()
    };
    let Ok(array) = sys::with_memlock(|| sys::map_create(&array)) else {
        return false;
    };
    let mut address = probe::instruction(LD_IMM64, 1, array.as_fd().as_raw_fd());
    address.set_src_reg(BPF_PSEUDO_MAP_VALUE as u8);
    let insns = [
        address,
        probe::instruction(0, 0, OFFSET),
        probe::instruction(EXIT, 0, 0),
    ];
    let program = probe::program(bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER, &insns);
    probe::load(&program).is_err_and(|log| log.contains("invalid access to map value pointer"))
}
