//! What is logged: a level for all, and others for parts of the program. Pure text.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// The levels, and none at all.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Levels by target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    global: Option<String>,
    targets: BTreeMap<String, String>,
    /// Directives of other kinds, as they were given.
    others: Vec<String>,
}

impl FromStr for Filter {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut filter = Self::default();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match directive.split_once('=') {
                None if LEVELS.contains(&directive.to_lowercase().as_str()) => {
                    filter.global = Some(directive.to_owned())
                }
                Some((target, level)) if is_target(target) => {
                    filter.targets.insert(target.to_owned(), level.to_owned());
                }
                _ => filter.others.push(directive.to_owned()),
            }
        }
        Ok(filter)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = self.targets.iter().map(|(target, level)| format!("{target}={level}"));
        let all: Vec<_> = self.global.clone().into_iter().chain(targets).chain(self.others.iter().cloned()).collect();
        to.write_str(&all.join(","))
    }
}

impl Filter {
    /// Sets the level of a target, or of all that have none of their own.
    ///
    /// # Errors
    /// What is no level or no target.
    pub fn set(&mut self, target: Option<&str>, level: &str) -> Result<(), String> {
        if !LEVELS.contains(&level) {
            return Err(format!("'{level}' is no level ({})", LEVELS.join(", ")));
        }
        match target {
            None => self.global = Some(level.to_owned()),
            Some(target) if is_target(target) => {
                self.targets.insert(target.to_owned(), level.to_owned());
            }
            Some(target) => return Err(format!("'{target}' is no target (dpdk, packet, rvsd, control::server, …)")),
        }
        Ok(())
    }
}

/// Words as modules have them.
fn is_target(word: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    (1..=64).contains(&word.len()) && word.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_changed_one_by_one() {
        let mut filter: Filter = "info,dpdk=debug,control[span]=warn".parse().unwrap();
        filter.set(None, "error").unwrap();
        filter.set(Some("dpdk"), "warn").unwrap();
        filter.set(Some("control::server"), "trace").unwrap();
        assert_eq!(filter.to_string(), "error,control::server=trace,dpdk=warn,control[span]=warn");
        assert!(filter.set(None, "loud").unwrap_err().contains("off, error, warn"));
        assert!(filter.set(Some("a=b,c"), "info").unwrap_err().contains("no target"));
    }
}
