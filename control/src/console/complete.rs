//! What TAB and `?` answer: how a line can go on, from the same table that says what a line means.

use super::commands::{choices, takes};
use super::grammar::Next;
use std::fmt::Write as _;

/// A way to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word; none for an argument or the end of the line.
    pub word: Option<String>,
    /// The word, the argument's name, or `[RETURN]`.
    pub shown: String,
    /// What it leads to.
    pub help: &'static str,
}

/// Values of arguments that only the running director knows.
pub trait Values {
    /// What can stand for this argument: `PORT`, `VIP:PORT`, `NAME`, …
    fn of(&mut self, argument: &str, words: &[&str]) -> Vec<String>;
}

/// No such values.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoValues;

impl Values for NoValues {
    fn of(&mut self, _: &str, _: &[&str]) -> Vec<String> {
        Vec::new()
    }
}

/// How a line can go on. Its last word, up to its end, may be unfinished.
pub fn candidates(line: &str, values: &mut dyn Values) -> Vec<Candidate> {
    let finished = line.is_empty() || line.ends_with(char::is_whitespace);
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let begun = if finished { "" } else { words.pop().unwrap_or_default() };
    let mut candidates = Vec::new();
    for choice in choices(&words) {
        match choice.next {
            Next::Word(word) if word.starts_with(begun) => {
                candidates.push(Candidate { word: Some(word.to_owned()), shown: word.to_owned(), help: choice.help })
            }
            Next::Argument(name) => {
                let known: Vec<String> =
                    values.of(name, &words).into_iter().filter(|value| value.starts_with(begun)).collect();
                candidates.extend(known.iter().map(|value| Candidate {
                    word: Some(value.clone()),
                    shown: value.clone(),
                    help: choice.help,
                }));
                if known.is_empty() && (begun.is_empty() || takes(name, begun)) {
                    candidates.push(Candidate { word: None, shown: name.to_owned(), help: choice.help });
                }
            }
            Next::Return if begun.is_empty() => {
                candidates.push(Candidate { word: None, shown: "[RETURN]".to_owned(), help: choice.help });
            }
            _ => {}
        }
    }
    candidates
}

/// One line for each way to go on, as testpmd prints them.
#[must_use]
pub fn listing(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    for candidate in candidates {
        let _ = match candidate.shown.as_str() {
            "[RETURN]" => writeln!(text, " [RETURN]: {}", candidate.help),
            shown => writeln!(text, " {shown}: {}", candidate.help),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Values for Two {
        fn of(&mut self, argument: &str, _: &[&str]) -> Vec<String> {
            if argument == "PORT" { vec!["0".into(), "1".into()] } else { Vec::new() }
        }
    }

    fn shown(line: &str) -> Vec<String> {
        candidates(line, &mut Two).into_iter().map(|candidate| candidate.shown).collect()
    }

    #[test]
    fn a_line_is_completed_by_words_values_and_names() {
        assert_eq!(shown("show po"), ["port"]);
        assert_eq!(shown("show port "), ["info", "stats", "xstats", "summary", "0", "1"]);
        assert_eq!(shown("show port info "), ["0", "1", "all"]);
        assert_eq!(shown("show port info al"), ["all"]);
        assert_eq!(shown("set timeout "), ["TCP"]);
        assert_eq!(shown("show version "), ["json", "[RETURN]"]);
        assert!(shown("nothing ").is_empty());
        assert!(
            listing(&candidates("show version ", &mut NoValues)).contains(" [RETURN]: Show the director's version.\n")
        );
    }
}
