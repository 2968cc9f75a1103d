//! Variables that outlive generations.

use core::cell::UnsafeCell;

/// A variable that stands in a section, and with it in a map, of its own: its address is known when the
/// program is loaded, so that it is read without a look-up. Userspace pins the map.
#[repr(transparent)]
pub(crate) struct Shared<T>(UnsafeCell<T>);

// SAFETY: whoever reads or writes it does so by a raw pointer, and says why that is sound.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it stands.
    #[inline(always)]
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}
