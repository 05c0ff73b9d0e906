//! Global variables: parts of the maps `.data`, `.bss` and `.rodata`.

use std::io;
use std::sync::{Mutex, PoisonError};

use aya_obj::EbpfSectionKind;

use super::{Map, MapError, Pod};
use crate::elf::Global;
use crate::object::arena;
use crate::sys::{self, ENOTSUPP, mmap::SharedMemory};

/// The key of the only element of such a map.
const FIRST: [u8; 4] = 0u32.to_ne_bytes();

/// How the variables of a map are accessed.
#[derive(Debug)]
pub(super) enum Data {
    /// In the mapped memory.
    Mapped(SharedMemory),
    /// By system calls that read or write all of them; one writer at a time.
    ByCalls(Mutex<()>),
}

/// Whether the error means that this map cannot be mapped.
fn is_unmappable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::EINVAL | ENOTSUPP)
    )
}

impl Map {
    /// Reads the current value of a variable.
    pub(crate) fn read_global<T: Pod>(&self, name: &str, global: &Global) -> Result<T, MapError> {
        self.check_size(name, global, size_of::<T>())?;
        let value = self.read_global_bytes(global)?;
        sys::from_bytes(&value).ok_or_else(|| self.size_mismatch(name, global, size_of::<T>()))
    }

    pub(crate) fn read_global_bytes(&self, global: &Global) -> Result<Vec<u8>, MapError> {
        let mut value = vec![0; global.size];
        if !self.is_constant()
            && let Data::Mapped(memory) = self.data()?
        {
            memory.read(self.data_offset() + global.offset, &mut value);
        } else if let Some(part) = self
            .all_data()?
            .get(global.offset..global.offset + global.size)
        {
            value.copy_from_slice(part);
        }
        Ok(value)
    }

    /// Writes a variable. If the map is memory-mapped, only this variable is written and programs may write to others
    /// meanwhile; otherwise what they write meanwhile may be lost.
    pub(crate) fn write_global<T: Pod>(
        &self,
        name: &str,
        global: &Global,
        value: T,
    ) -> Result<(), MapError> {
        self.check_size(name, global, size_of::<T>())?;
        if self.is_constant() {
            return Err(MapError::ReadOnly {
                name: name.to_owned(),
            });
        }
        let value = sys::bytes_of(&value);
        match self.data()? {
            Data::Mapped(memory) => {
                memory.write(self.data_offset() + global.offset, value);
                Ok(())
            }
            Data::ByCalls(writer) => {
                let _writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                let mut all = self.all_data()?;
                if let Some(part) = all.get_mut(global.offset..global.offset + value.len()) {
                    part.copy_from_slice(value);
                }
                self.update(&FIRST, &all, 0)
            }
        }
    }

    /// All variables of the map.
    fn all_data(&self) -> Result<Vec<u8>, MapError> {
        self.lookup_bytes(&FIRST, 0)
    }

    /// The size of all variables; of an arena, of all of it.
    pub(super) fn data_size(&self) -> usize {
        match self.is_arena() {
            true => arena::size(&self.0.definition),
            false => self.value_size(),
        }
    }

    fn is_constant(&self) -> bool {
        self.0.definition.section_kind() == EbpfSectionKind::Rodata
    }

    /// How variables are accessed. Maps cannot be mapped before 5.5, nor if they were created without `BPF_F_MMAPABLE`.
    fn data(&self) -> Result<&Data, MapError> {
        // An arena is mapped when it is created.
        let fd = self.fd()?;
        if let Some(data) = self.0.data.get() {
            return Ok(data);
        }
        let data = match SharedMemory::map(fd, 0, self.data_size(), true) {
            Ok(memory) => Data::Mapped(memory),
            Err(error) if is_unmappable(&error) => Data::ByCalls(Mutex::new(())),
            Err(error) => return Err(self.error("mmap")(error)),
        };
        Ok(self.0.data.get_or_init(|| data))
    }

    fn check_size(&self, name: &str, global: &Global, size: usize) -> Result<(), MapError> {
        let fits = global
            .offset
            .checked_add(size)
            .is_some_and(|end| end <= self.data_size());
        if global.size == size && fits {
            Ok(())
        } else {
            Err(self.size_mismatch(name, global, size))
        }
    }

    fn size_mismatch(&self, name: &str, global: &Global, found: usize) -> MapError {
        let name = format!("{}` variable `{name}", self.name());
        MapError::SizeMismatch {
            name,
            what: "value",
            expected: global.size,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use aya_obj::generated::bpf_cmd::{
        self, BPF_BTF_LOAD, BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,
    };

    use crate::sys::{attr::MapCreateAttr, fake};
    use crate::testing::compile;
    use crate::{Ebpf, MapError};

    const SOURCE: &str = "
        int zero; int one = 1; const volatile int TWO = 2;
        SEC(\"fexit/f\") int p(void *ctx) { return zero + one + TWO; }";

    const MAPPABLE: u32 = 1 << 10;

    /// The system calls about maps that `work` makes on a kernel that maps no map and refuses maps by their flags.
    fn calls(
        refuse: impl Fn(u32) -> Option<i32> + 'static,
        work: impl FnOnce(&Ebpf) -> Result<(), MapError>,
    ) -> (Vec<bpf_cmd>, Result<(), MapError>) {
        let ebpf = Ebpf::load(&compile(SOURCE)).unwrap();
        let kernel = fake::kernel(move |call| match call.cmd {
            BPF_MAP_CREATE => refuse(call.attr::<MapCreateAttr>().map_flags),
            _ => None,
        });
        let result = work(&ebpf);
        let mut made = kernel.commands();
        made.retain(|cmd| *cmd != BPF_BTF_LOAD);
        (made, result)
    }

    #[test]
    fn data_is_read_and_written_by_calls_where_the_kernel_cannot_map_it() {
        let (made, result) = calls(
            |flags| (flags == MAPPABLE).then_some(libc::EINVAL),
            |ebpf| ebpf.global::<i32>("zero").map(drop),
        );
        result.unwrap();
        let [typed, untyped, unmappable] = [BPF_MAP_CREATE; 3];
        assert_eq!(made, [typed, untyped, unmappable, BPF_MAP_LOOKUP_ELEM]);
        let (made, result) = calls(|_| None, |ebpf| ebpf.set_global("zero", 7));
        result.unwrap();
        assert_eq!(
            made,
            [BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM]
        );
    }

    #[test]
    fn error_that_is_not_about_mapping_is_returned() {
        let (made, result) = calls(
            |_| Some(libc::EMFILE),
            |ebpf| ebpf.global::<i32>("zero").map(drop),
        );
        assert!(
            matches!(result, Err(MapError::CreateError { .. })),
            "{result:?}"
        );
        let [typed, untyped] = [BPF_MAP_CREATE; 2];
        assert_eq!(made, [typed, untyped]);
    }
}
