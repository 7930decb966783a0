//! The component's heap, for QuickJS and for us: small blocks come from lists of free ones by size, larger ones from
//! the system's allocator. QuickJS allocates for every value it reads and frees it soon after, which this makes cheap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

/// Small blocks are multiples of this, bytes; also their alignment.
const STEP: usize = 16;
/// Largest small block, bytes.
const SMALL_MAX: usize = 512;
/// Small blocks are cut from pieces of this size, bytes.
const PIECE: usize = 16 * 1024;

struct Lists {
    /// First free block of each size; a free block holds the address of the next.
    free: [*mut u8; SMALL_MAX / STEP + 1],
    /// What is left of the last piece.
    piece: *mut u8,
    left: usize,
}

/// The allocator.
pub struct Heap(UnsafeCell<Lists>);

// SAFETY: a component has one thread.
unsafe impl Sync for Heap {}

impl Heap {
    /// An empty heap.
    pub const fn new() -> Heap {
        Heap(UnsafeCell::new(Lists { free: [null_mut(); SMALL_MAX / STEP + 1], piece: null_mut(), left: 0 }))
    }
}

impl Default for Heap {
    fn default() -> Self {
        Heap::new()
    }
}

fn is_small(layout: Layout) -> bool {
    layout.size() <= SMALL_MAX && layout.align() <= STEP
}

/// Which list; blocks of 0 bytes are as those of 1.
fn list(size: usize) -> usize {
    size.max(1).div_ceil(STEP)
}

impl Lists {
    #[cold]
    unsafe fn cut(&mut self, list: usize) -> *mut u8 {
        let size = list * STEP;
        if self.left < size {
            // What is left of the old piece serves as a smaller block.
            if self.left >= STEP {
                unsafe { self.put(self.piece, self.left / STEP) };
            }
            // SAFETY: the layout is not empty.
            let piece = unsafe { System.alloc(Layout::from_size_align_unchecked(PIECE, STEP)) };
            if piece.is_null() {
                self.left = 0;
                return null_mut();
            }
            self.piece = piece;
            self.left = PIECE;
        }
        let block = self.piece;
        // SAFETY: stays within the piece.
        self.piece = unsafe { block.add(size) };
        self.left -= size;
        block
    }

    unsafe fn put(&mut self, block: *mut u8, list: usize) {
        // SAFETY: a block has room for an address.
        unsafe { block.cast::<*mut u8>().write(self.free[list]) };
        self.free[list] = block;
    }
}

// SAFETY: small blocks are disjoint cuts of pieces, aligned to STEP; all others are the system's.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout) {
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: one thread, and nothing here calls back.
        let lists = unsafe { &mut *self.0.get() };
        let at = list(layout.size());
        let first = lists.free[at];
        if first.is_null() {
            return unsafe { lists.cut(at) };
        }
        lists.free[at] = unsafe { first.cast::<*mut u8>().read() };
        first
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !is_small(layout) {
            return unsafe { System.dealloc(block, layout) };
        }
        unsafe { (*self.0.get()).put(block, list(layout.size())) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_small(layout), is_small(new)) {
            (false, false) => unsafe { System.realloc(block, layout, size) },
            (true, true) if list(layout.size()) == list(size) => block,
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_apart_and_keep_their_content_when_they_grow() {
        let heap = Heap::new();
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        let mut blocks = Vec::new();
        for size in (0..2000).chain([PIECE, 3 * PIECE]) {
            let block = unsafe { heap.alloc(layout(size)) };
            assert_eq!(block as usize % 8, 0);
            unsafe { block.write_bytes(size as u8, size) };
            blocks.push((block, size));
        }
        for (block, size) in &mut blocks {
            let grown = unsafe { heap.realloc(*block, layout(*size), *size + 100) };
            unsafe { grown.add(*size).write_bytes(0xee, 100) };
            (*block, *size) = (grown, *size + 100);
        }
        for (block, size) in blocks {
            let content = unsafe { std::slice::from_raw_parts(block, size - 100) };
            assert!(content.iter().all(|b| *b == (size - 100) as u8), "{size}");
            unsafe { heap.dealloc(block, layout(size)) };
        }
    }

    #[test]
    fn freed_blocks_are_used_again() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(40, 8).unwrap();
        let first = unsafe { heap.alloc(layout) };
        unsafe { heap.dealloc(first, layout) };
        assert_eq!(unsafe { heap.alloc(layout) }, first);
    }
}
