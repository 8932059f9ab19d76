//! What is skipped, and why: the rows of the table of recordings in `docs/differences.md`.
//!
//! A row is `` | `GROUP/FILE` | reason | `` for a whole file, or `` | `GROUP/FILE: CASE` | reason | `` for one of its
//! cases; `*` in either stands for any text.

/// The rows.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    rows: Vec<(String, String)>,
}

impl Differences {
    /// Reads the rows out of the document: those of two columns whose first is in backquotes and has a slash.
    #[must_use]
    pub fn parse(document: &str) -> Self {
        let row = |line: &str| {
            let [pattern, reason] = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect::<Vec<_>>()[..]
            else {
                return None;
            };
            let pattern = pattern.trim().strip_prefix('`')?.strip_suffix('`')?;
            pattern.contains('/').then(|| (pattern.to_owned(), reason.trim().to_owned()))
        };
        Self { rows: document.lines().filter_map(|line| row(line.trim())).collect() }
    }

    /// Why this file (`GROUP/FILE`) or case (`GROUP/FILE: CASE`) is skipped, if it is.
    #[must_use]
    pub fn reason(&self, name: &str) -> Option<String> {
        self.rows.iter().find(|(pattern, _)| matches(pattern, name)).map(|(_, reason)| reason.clone())
    }
}

/// True if `*` in the pattern can stand for something that makes it the text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text
            .strip_prefix(before)
            .is_some_and(|text| (0..=text.len()).any(|at| text.get(at..).is_some_and(|tail| matches(rest, tail)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_files_and_cases() {
        let document = "| where | why |\n|---|---|\n| `packets/v6-*` | later |\n| `ipvsadm/x: cat *` | no file |\n\
                        | a | b | `c/d` | e |\n| plain/text | no |\n";
        let differences = Differences::parse(document);
        assert_eq!(differences.rows.len(), 2);
        assert_eq!(differences.reason("packets/v6-tcp-nat").as_deref(), Some("later"));
        assert_eq!(differences.reason("ipvsadm/x: cat /proc").as_deref(), Some("no file"));
        assert_eq!(differences.reason("ipvsadm/x"), None);
        assert_eq!(differences.reason("packets/tcp-v6-"), None);
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in
            [("*", "", true), ("a*b*c", "a--b--c", true), ("a*b", "ab", true), ("a*b", "abc", false), ("a", "b", false)]
        {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
