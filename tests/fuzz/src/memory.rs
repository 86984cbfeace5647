//! How much memory this thread has, and had at most: counted, not sampled.

#![expect(unsafe_code, reason = "an allocator cannot be written without; each call is handed on as it came")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
pub(crate) struct Counting;

fn took(bytes: usize) {
    // A thread that ends frees what it has when its counters are gone already.
    let _gone = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(bytes));
        let _gone = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

fn gave_back(bytes: usize) {
    let _gone = NOW.try_with(|now| now.set(now.get().wrapping_sub(bytes)));
}

// SAFETY: every call is the system allocator's, with the caller's own arguments; counting touches no memory it hands out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Bytes this thread has allocated and not freed. What it frees for others counts against it.
pub(crate) fn now() -> usize {
    NOW.get()
}

/// Does something, and tells how many bytes it needed at most beyond those there were.
pub(crate) fn needed_by<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = now();
    MOST.set(before);
    let done = work();
    (done, MOST.get().saturating_sub(before))
}
