//! Commands of DPDK's telemetry socket, answered by a function of ours.
//!
//! DPDK calls from a thread of its own for each client, builds the answer in memory of fixed size and cuts what is
//! longer, without a word, to no JSON at all; so answers are bounded here, and say that they were.

use crate::eal::EalHandle;
use crate::error::{self, Error};
use dpdk_sys as sys;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An answer, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Text, of which the first 127 bytes count.
    Text(String),
    /// Texts in their order.
    List(Vec<String>),
    /// Names and values. In names, what is neither letter nor digit becomes `_`. A table in a table in a table is left
    /// out.
    Table(Vec<(String, Value)>),
}

/// Answers a command, given its parameters if there are any. None: they mean nothing.
pub type Handler = Box<dyn Fn(&str, Option<&str>) -> Option<Value> + Send>;

/// DPDK has no way to tell a command from another but its name, and none to forget one.
static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);

fn handler() -> MutexGuard<'static, Option<Handler>> {
    HANDLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Commands that are answered until this is dropped, which waits for an answer that is being made.
#[derive(Debug)]
pub struct Commands {
    _eal: EalHandle,
}

/// Entries of a list or table (DPDK's limit is 256 for tables).
const ENTRIES: usize = 200;
/// Bytes of a text, with its end (RTE_TEL_MAX_STRING_LEN).
const TEXT: usize = 128;
/// Bytes of JSON; DPDK has room for 16 KiB.
const BYTES: usize = 12_000;

impl Commands {
    /// Registers these commands (`/rvs/workers`) with their explanations.
    ///
    /// # Errors
    /// [`Error::Telemetry`], with the command that DPDK refused.
    pub fn register(eal: &EalHandle, commands: &[(&str, &str)], handle: Handler) -> Result<Self, Error> {
        *handler() = Some(handle);
        let registered = Self { _eal: eal.clone() };
        for (command, help) in commands {
            let fail = |reason| Error::Telemetry { command: (*command).to_owned(), reason };
            let c = |text: &str| CString::new(text).map_err(|_| fail("it contains NUL".to_owned()));
            let (name, help) = (c(command)?, c(help)?);
            // SAFETY: both are C strings, which the call copies; `answer` may be called from any thread at any time.
            // Needed because the list of commands is C's.
            let result = unsafe { sys::rte_telemetry_register_cmd(name.as_ptr(), Some(answer), help.as_ptr()) };
            // Who registered them before in this process registered the same function.
            if result < 0 && result != -libc::EEXIST {
                return Err(fail(error::text(result)));
            }
        }
        Ok(registered)
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        *handler() = None;
    }
}

/// Called by DPDK.
unsafe extern "C" fn answer(command: *const c_char, parameters: *const c_char, data: *mut sys::rte_tel_data) -> c_int {
    // SAFETY: DPDK passes C strings that live during the call, the second or NULL. Needed because it is C that calls.
    let (command, parameters) =
        unsafe { (CStr::from_ptr(command), (!parameters.is_null()).then(|| CStr::from_ptr(parameters))) };
    // A panic must not unwind into C.
    let made = std::panic::catch_unwind(|| {
        let parameters = parameters.map(CStr::to_string_lossy).filter(|text| !text.is_empty());
        handler().as_ref()?(&command.to_string_lossy(), parameters.as_deref())
    });
    match made {
        Ok(Some(value)) => Data(data).fill(&bounded(value)),
        _ => -libc::EINVAL,
    }
}

/// What DPDK turns into JSON.
struct Data(*mut sys::rte_tel_data);

impl Data {
    /// Answers 0, or a negative errno.
    fn fill(&self, value: &Value) -> c_int {
        match value {
            Value::List(texts) => {
                // SAFETY: DPDK's own, empty structure. Needed because it is C's.
                let started = unsafe { sys::rte_tel_data_start_array(self.0, sys::RTE_TEL_STRING_VAL) };
                let add = |text: &String| {
                    let text = c_text(text);
                    // SAFETY: a started array, and a C string that is copied. Needed because it is C's.
                    unsafe { sys::rte_tel_data_add_array_string(self.0, text.as_ptr()) }
                };
                texts.iter().map(add).fold(started, c_int::min)
            }
            Value::Table(rows) => {
                // SAFETY: DPDK's own, empty structure. Needed because it is C's.
                let started = unsafe { sys::rte_tel_data_start_dict(self.0) };
                rows.iter().map(|(name, value)| self.row(name, value)).fold(started, c_int::min)
            }
            Value::Number(number) => self.fill(&Value::Table(vec![("value".to_owned(), Value::Number(*number))])),
            Value::Text(text) => self.fill(&Value::List(vec![text.clone()])),
        }
    }

    fn row(&self, name: &str, value: &Value) -> c_int {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = c_text(&name);
        match value {
            // SAFETY: a started dictionary, and a C string that is copied. Needed because it is C's.
            Value::Number(number) => unsafe { sys::shim_tel_add_number(self.0, name.as_ptr(), *number) },
            Value::Text(text) => {
                let text = c_text(text);
                // SAFETY: as above. Needed as above.
                unsafe { sys::rte_tel_data_add_dict_string(self.0, name.as_ptr(), text.as_ptr()) }
            }
            Value::List(_) | Value::Table(_) => {
                // SAFETY: allocates. Needed because it is C's.
                let inner = unsafe { sys::rte_tel_data_alloc() };
                if inner.is_null() {
                    return -libc::ENOMEM;
                }
                Data(inner).fill(value);
                // SAFETY: a started dictionary, a C string, and a structure that is nobody else's; DPDK frees it after
                // the answer, as `keep` is 0. Needed because it is C's.
                let result = unsafe { sys::rte_tel_data_add_dict_container(self.0, name.as_ptr(), inner, 0) };
                if result < 0 {
                    // SAFETY: it was not taken. Needed because it is C's.
                    unsafe { sys::rte_tel_data_free(inner) };
                }
                result
            }
        }
    }
}

/// At most 127 bytes, whole characters, and no NUL.
fn c_text(text: &str) -> CString {
    let end = text.floor_char_boundary(TEXT - 1);
    CString::new(text[..end].replace('\0', "?")).unwrap_or_default()
}

/// No more than DPDK has room for; where something is left out, it says how many.
fn bounded(value: Value) -> Value {
    let mut left = BYTES;
    cut(value, &mut left, 0)
}

fn cut(value: Value, left: &mut usize, depth: usize) -> Value {
    match value {
        Value::List(texts) => {
            let all = texts.len();
            let mut kept = Vec::new();
            for text in texts {
                // Escapes make at most two bytes of one.
                if kept.len() == ENTRIES || !take(left, 2 * text.len().min(TEXT) + 3) {
                    break;
                }
                kept.push(text);
            }
            if kept.len() < all {
                kept.push(format!("... and {} more", all - kept.len()));
            }
            Value::List(kept)
        }
        Value::Table(rows) => {
            let all = rows.len();
            let mut kept = Vec::new();
            for (name, value) in rows {
                let nested = matches!(value, Value::List(_) | Value::Table(_));
                let size = match &value {
                    Value::Number(_) => 20,
                    Value::Text(text) => 2 * text.len().min(TEXT) + 2,
                    Value::List(_) | Value::Table(_) => 80,
                };
                if kept.len() == ENTRIES || (nested && depth > 0) || !take(left, name.len() + 4 + size) {
                    break;
                }
                kept.push((name, cut(value, left, depth + 1)));
            }
            if kept.len() < all {
                kept.push(("left_out".to_owned(), Value::Number((all - kept.len()) as u64)));
            }
            Value::Table(kept)
        }
        value => value,
    }
}

/// Takes bytes from what is left, if there are as many.
fn take(left: &mut usize, bytes: usize) -> bool {
    let enough = bytes <= *left;
    if enough {
        *left -= bytes;
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_say_that_they_were_cut() {
        let Value::List(texts) = bounded(Value::List(vec!["x".repeat(50); 1000])) else { panic!("a list") };
        assert_eq!((texts.len(), &*texts[texts.len() - 1]), (117, "... and 884 more"));
        let Value::List(texts) = bounded(Value::List(vec![String::new(); 1000])) else { panic!("a list") };
        assert_eq!((texts.len(), &*texts[ENTRIES]), (ENTRIES + 1, "... and 800 more"));
        let row = |n: u64| (n.to_string(), Value::Number(n));
        let inner = Value::Table((0..50).map(row).collect());
        let table = Value::Table((0..100).map(|n| (n.to_string(), inner.clone())).collect());
        let Value::Table(rows) = bounded(table) else { panic!("a table") };
        let (last, number) = &rows[rows.len() - 1];
        assert_eq!((&**last, number), ("left_out", &Value::Number(101 - rows.len() as u64)));
    }

    #[test]
    fn short_answers_are_whole() {
        let rows = vec![("a".to_owned(), Value::Number(1)), ("b".to_owned(), Value::List(vec!["x".to_owned()]))];
        assert_eq!(bounded(Value::Table(rows.clone())), Value::Table(rows));
        assert_eq!(c_text(&"ä".repeat(100)).as_bytes().len(), 126);
        assert_eq!(c_text("a\0b").to_bytes(), b"a?b");
    }
}
