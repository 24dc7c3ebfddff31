//! What a program hands to the library: memory that is exactly as long as it says, and no longer.

const PATTERN: u64 = 0xA5A5_A5A5_A5A5_A5A5;

/// An output, or NULL for one. It begins filled with a pattern, which an error must leave.
pub struct Output {
    words: Vec<u64>,
    size: usize,
    null: bool,
}

impl Output {
    pub fn new(size: usize, null: bool) -> Output {
        Output { words: vec![PATTERN; size.div_ceil(8)], size, null }
    }

    pub fn of<T>(null: bool) -> Output {
        Output::new(size_of::<T>(), null)
    }

    pub fn pointer<T>(&mut self) -> *mut T {
        if self.null { std::ptr::null_mut() } else { self.words.as_mut_ptr().cast() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// The library wrote just the first `written` bytes, or may have; beyond them is what was there.
    pub fn is_untouched_from(&self, written: usize) -> bool {
        self.bytes()[written..].iter().all(|byte| *byte == PATTERN as u8)
    }

    /// The bytes after an answer: those of the struct, whatever size the program gave it, and nothing behind.
    pub fn sized<T: Copy>(&self, code: i32) -> Option<&T> {
        if code != 0 || self.null {
            assert!(self.is_untouched_from(0), "error {code} wrote");
            return None;
        }
        assert!(self.is_untouched_from(self.size), "written beyond {} bytes", self.size);
        let (known, bytes) = (size_of::<T>(), self.bytes());
        assert!(self.size <= known || bytes[known..self.size].iter().all(|byte| *byte == 0), "the unknown is not 0");
        // SAFETY: as many bytes are there, aligned to 8, and the library has written them; the types are plain.
        (self.size >= known).then(|| unsafe { &*self.words.as_ptr().cast::<T>() })
    }

    /// What was written, if the call was a success and had where to write to.
    pub fn value<T: Copy>(&self, code: i32) -> Option<T> {
        self.sized(code).copied()
    }

    /// The first of many values, which the library has written.
    pub fn values<T: Copy>(&self, count: usize) -> Vec<T> {
        assert!(count * size_of::<T>() <= self.size && self.is_untouched_from(count * size_of::<T>()));
        // SAFETY: see above.
        (0..count).map(|at| unsafe { self.words.as_ptr().cast::<T>().add(at).read() }).collect()
    }
}
