//! Global variables: parts of the maps `.data`, `.bss` and `.rodata`.

use std::os::fd::BorrowedFd;

use aya_obj::EbpfSectionKind;

use super::{Map, MapError, Pod};
use crate::elf::Global;
use crate::sys::{self, memory::SharedMemory};

impl Map {
    /// Reads a variable; what a running program wrote is seen at once.
    pub(crate) fn read_global<T: Pod>(&self, name: &str, global: &Global) -> Result<T, MapError> {
        self.check_size(name, global, size_of::<T>())?;
        let value = self.read_global_bytes(global)?;
        sys::from_bytes(&value).ok_or_else(|| self.size_mismatch(name, global, size_of::<T>()))
    }

    pub(crate) fn read_global_bytes(&self, global: &Global) -> Result<Vec<u8>, MapError> {
        let fd = self.fd()?;
        let mut value = vec![0; global.size];
        if self.is_constant() {
            let mut all = vec![0; self.value_size()];
            sys::map_lookup(fd, &0u32.to_ne_bytes(), &mut all, 0)
                .map_err(self.error("BPF_MAP_LOOKUP_ELEM"))?;
            if let Some(part) = all.get(global.offset..global.offset + global.size) {
                value.copy_from_slice(part);
            }
        } else {
            self.memory(fd)?.read(global.offset, &mut value);
        }
        Ok(value)
    }

    /// Writes a variable, and nothing beside it, so that programs may write to its neighbours meanwhile.
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
        self.memory(self.fd()?)?
            .write(global.offset, sys::bytes_of(&value));
        Ok(())
    }

    fn is_constant(&self) -> bool {
        self.0.definition.section_kind() == EbpfSectionKind::Rodata
    }

    fn memory(&self, fd: BorrowedFd<'_>) -> Result<&SharedMemory, MapError> {
        if let Some(memory) = self.0.memory.get() {
            return Ok(memory);
        }
        let memory =
            SharedMemory::map(fd, 0, self.value_size(), true).map_err(self.error("mmap"))?;
        Ok(self.0.memory.get_or_init(|| memory))
    }

    fn check_size(&self, name: &str, global: &Global, size: usize) -> Result<(), MapError> {
        let fits = global
            .offset
            .checked_add(size)
            .is_some_and(|end| end <= self.value_size());
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
