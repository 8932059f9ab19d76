//! Huge pages for the length of a bench: as many as it needs are reserved if that is allowed, and given back.

use std::fs;

const PATH: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
const PAGE: u64 = 2 << 20;

/// The pages that were reserved before.
#[derive(Default)]
pub struct HugePages {
    before: Option<u64>,
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl HugePages {
    /// Sees to it that so many bytes of them are free. Answers whether they are.
    pub fn reserve(&mut self, bytes: u64) -> bool {
        let pages = bytes.div_ceil(PAGE);
        let (Some(total), Some(free)) = (number(PATH), number(FREE)) else { return false };
        if free >= pages {
            return true;
        }
        self.before.get_or_insert(total);
        fs::write(PATH, (total + pages - free).to_string()).is_ok() && number(FREE).is_some_and(|free| free >= pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = fs::write(PATH, before.to_string());
        }
    }
}
