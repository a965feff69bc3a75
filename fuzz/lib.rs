//! What the fuzz targets share: the [`checks`], and a limit of the memory that they may take.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

mod checks;

/// Most bytes that may be held at any time.
const MOST_BYTES: usize = 128 << 20;

/// The system's memory, and no more than [`MOST_BYTES`] of it.
struct Bounded;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator; a null pointer says that there is no memory.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size() > MOST_BYTES {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static MEMORY: Bounded = Bounded;

/// Makes sure that what follows is bounded: a program that uses nothing of this crate would be without.
pub fn bounded() {
    assert!(HELD.load(Ordering::Relaxed) <= MOST_BYTES);
}

/// Runs the check of a target.
pub fn run(target: &str, data: &[u8]) {
    bounded();
    let (_, check) = checks::ALL.iter().find(|(name, _)| *name == target).expect("it is in the table");
    check(data);
}
