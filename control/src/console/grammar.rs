//! What a line of the console may look like, written as a pattern, and which pattern a line fits.
//!
//! `word`s stand for themselves, `WORD`s for arguments, `(a|b c)` for one of its alternatives and `[…]` for what may be
//! left out. Neighbouring optional parts may come in any order. A word may be cut short as long as it stays clear which
//! one is meant. Nothing here knows what a line does.

use std::fmt;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Word(&'static str),
    Argument(&'static str),
    OneOf(Vec<Vec<Part>>),
    Optional(Vec<Part>),
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    text: &'static str,
}

impl fmt::Display for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.text)
    }
}

/// What a line says, once a pattern fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    words: Vec<&'static str>,
    arguments: Vec<(&'static str, String)>,
    /// Words that were cut short.
    shortened: usize,
}

impl Matched {
    /// True if the line has this word of the pattern.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The first of these words that the line has.
    #[must_use]
    pub fn one_of<'a>(&self, words: &[&'a str]) -> Option<&'a str> {
        words.iter().copied().find(|word| self.has(word))
    }

    /// These words of the pattern, in the order in which the line has them.
    pub fn all_of<'a>(&self, words: &'a [&'static str]) -> impl DoubleEndedIterator<Item = &'static str> + use<'a, '_> {
        self.words.iter().copied().filter(|word| words.contains(word))
    }

    /// The same line with `words` in place of one, and another argument in place of one.
    #[must_use]
    pub fn with(mut self, word: &str, words: &[&'static str], old: &str, new: (&'static str, String)) -> Self {
        if let Some(at) = self.words.iter().position(|said| *said == word) {
            self.words.splice(at..=at, words.iter().copied());
        }
        for argument in self.arguments.iter_mut().filter(|(name, _)| *name == old) {
            *argument = new.clone();
        }
        self
    }

    /// What stands for this argument.
    #[must_use]
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|(argument, _)| *argument == name).map(|(_, value)| value.as_str())
    }

    /// The same as a number.
    #[must_use]
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.argument(name)?.parse().ok()
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// This word.
    Word(&'static str),
    /// An argument of this name.
    Argument(&'static str),
    /// Nothing: the line is complete.
    Return,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Panics
    /// If its brackets do not match: patterns are part of the program, and a test reads them all.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        let mut rest = text;
        let mut alternatives = sequence(&mut rest);
        assert!(rest.is_empty() && alternatives.len() == 1, "{text}");
        Self { parts: alternatives.remove(0), text }
    }

    /// Every way in which these words fit.
    #[must_use]
    pub fn fits(&self, words: &[&str], takes: &dyn Fn(&str, &str) -> bool) -> Vec<Matched> {
        let mut found = Vec::new();
        let mut walk = Walk {
            takes,
            matched: Matched::default(),
            done: &mut |end, matched| {
                if end == Next::Return && !found.contains(matched) {
                    found.push(matched.clone());
                }
            },
        };
        walk.go(words, &Rest::of(&self.parts));
        found
    }

    /// What may follow these words.
    #[must_use]
    pub fn next(&self, words: &[&str], takes: &dyn Fn(&str, &str) -> bool) -> Vec<Next> {
        let mut found = Vec::new();
        let mut walk = Walk {
            takes,
            matched: Matched::default(),
            done: &mut |next, _| {
                if !found.contains(&next) {
                    found.push(next);
                }
            },
        };
        walk.go(words, &Rest::of(&self.parts));
        found
    }

    /// True if the first word is one that the pattern starts with.
    #[must_use]
    pub fn starts(&self, word: &str) -> bool {
        matches!(self.parts.first(), Some(Part::Word(first)) if first.starts_with(word))
            || matches!(self.parts.first(), Some(Part::OneOf(alternatives))
                if alternatives.iter().any(|parts| matches!(parts.first(), Some(Part::Word(first)) if first.starts_with(word))))
    }
}

/// Alternatives up to the end of the text, or to the bracket that closes them.
fn sequence(rest: &mut &'static str) -> Vec<Vec<Part>> {
    let mut alternatives = vec![Vec::new()];
    loop {
        *rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return alternatives };
        let part = match first {
            '(' | '[' => {
                *rest = &rest[1..];
                let mut inner = sequence(rest);
                *rest = rest.strip_prefix([')', ']']).unwrap_or_else(|| panic!("no bracket before '{rest}'"));
                match (first, inner.len()) {
                    ('(', _) => Part::OneOf(inner),
                    (_, 1) => Part::Optional(inner.remove(0)),
                    _ => Part::Optional(vec![Part::OneOf(inner)]),
                }
            }
            ')' | ']' => return alternatives,
            '|' => {
                *rest = &rest[1..];
                alternatives.push(Vec::new());
                continue;
            }
            _ => {
                let end = rest.find([' ', '(', ')', '[', ']', '|']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                *rest = after;
                if first.is_uppercase() { Part::Argument(word) } else { Part::Word(word) }
            }
        };
        if let Some(last) = alternatives.last_mut() {
            last.push(part);
        }
    }
}

/// What is left of a pattern: some parts, then more.
struct Rest<'a> {
    parts: &'a [Part],
    /// Which parts of the leading run of optional ones have been used, a bit each.
    used: u64,
    then: Option<&'a Rest<'a>>,
}

impl<'a> Rest<'a> {
    fn of(parts: &'a [Part]) -> Self {
        Self { parts, used: 0, then: None }
    }
}

/// A walk through a pattern with a line's words, going back where it leads nowhere.
struct Walk<'a> {
    takes: &'a dyn Fn(&str, &str) -> bool,
    matched: Matched,
    /// Told what may come next where the words end.
    done: &'a mut dyn FnMut(Next, &Matched),
}

impl Walk<'_> {
    fn go(&mut self, words: &[&str], rest: &Rest<'_>) {
        let Some(part) = rest.parts.first() else {
            match rest.then {
                Some(then) => self.go(words, then),
                None if words.is_empty() => (self.done)(Next::Return, &self.matched),
                None => {}
            }
            return;
        };
        let after = Rest { parts: &rest.parts[1..], used: 0, then: rest.then };
        match part {
            Part::Word(word) => match words {
                [] => (self.done)(Next::Word(word), &self.matched),
                [said, words @ ..] if word.starts_with(said) => {
                    let before = self.matched.clone();
                    self.matched.words.push(word);
                    self.matched.shortened += usize::from(said != word);
                    self.go(words, &after);
                    self.matched = before;
                }
                _ => {}
            },
            Part::Argument(name) => match words {
                [] => (self.done)(Next::Argument(name), &self.matched),
                [said, words @ ..] if (self.takes)(name, said) => {
                    self.matched.arguments.push((name, (*said).to_owned()));
                    self.go(words, &after);
                    self.matched.arguments.pop();
                }
                _ => {}
            },
            Part::OneOf(alternatives) => {
                for parts in alternatives {
                    self.go(words, &Rest { parts, used: 0, then: Some(&after) });
                }
            }
            Part::Optional(_) => {
                let run = rest.parts.iter().take_while(|part| matches!(part, Part::Optional(_))).count();
                for (index, part) in rest.parts[..run].iter().enumerate() {
                    if let (Part::Optional(parts), 0) = (part, rest.used >> index & 1) {
                        let again = Rest { parts: rest.parts, used: rest.used | 1 << index, then: rest.then };
                        self.go(words, &Rest { parts, used: 0, then: Some(&again) });
                    }
                }
                self.go(words, &Rest { parts: &rest.parts[run..], used: 0, then: rest.then });
            }
        }
    }
}

/// The one line among those that fit: with the fewest words cut short, then with the most words taken for themselves.
///
/// # Errors
/// [`Unclear::None`] if nothing fits, [`Unclear::Several`] if it could be this or that.
pub fn clearest<T>(mut found: Vec<(T, Matched)>) -> Result<(T, Matched), Unclear> {
    let cost = |(_, matched): &(T, Matched)| (matched.shortened, matched.arguments.len());
    let least = found.iter().map(cost).min().ok_or(Unclear::None)?;
    found.retain(|fit| cost(fit) == least);
    match found.len() {
        1 => found.pop().ok_or(Unclear::None),
        _ => Err(Unclear::Several),
    }
}

/// Why a line is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// It fits no pattern.
    None,
    /// It fits several.
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(name: &str, word: &str) -> bool {
        name != "N" || word.parse::<u32>().is_ok()
    }

    fn fit(pattern: &'static str, line: &str) -> Option<Matched> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fits = Pattern::new(pattern).fits(&words, &takes).into_iter().map(|matched| ((), matched)).collect();
        clearest(fits).ok().map(|((), matched)| matched)
    }

    #[test]
    fn lines_fit_patterns() {
        let service = "add (tcp VIP|mark N [ipv6]) [scheduler S] [persistent [N]] [ops] [json]";
        let rows = [
            ("show port (info|stats) (N|all)", "show port stats 3", true),
            ("show port (info|stats) (N|all)", "show port stats all", true),
            ("show port (info|stats) (N|all)", "show port stats x", false),
            ("show port (info|stats) (N|all)", "show port stats", false),
            ("show port (info|stats) (N|all)", "sh po st a", true),
            (service, "add tcp 1.2.3.4:80", true),
            (service, "add mark 7 ipv6 ops scheduler rr", true),
            (service, "add mark 7 persistent scheduler rr", true),
            (service, "add mark 7 scheduler rr persistent 30", true),
            (service, "add mark 7 json scheduler rr", true),
            (service, "add mark 7 scheduler rr scheduler wrr", false),
            (service, "add tcp 1.2.3.4:80 ipv6", false),
            (service, "add udp 1.2.3.4:80", false),
        ];
        for (pattern, line, fits) in rows {
            assert_eq!(fit(pattern, line).is_some(), fits, "{pattern} / {line}");
        }
    }

    #[test]
    fn a_match_knows_words_and_arguments() {
        let matched = fit("add (tcp VIP|mark N) [scheduler S] [ops]", "add mark 7 op sch rr").unwrap();
        assert!(matched.has("ops") && matched.has("mark") && !matched.has("tcp"));
        assert_eq!((matched.number("N"), matched.argument("S"), matched.argument("VIP")), (Some(7), Some("rr"), None));
        assert_eq!(matched.one_of(&["tcp", "mark"]), Some("mark"));
    }

    #[test]
    fn the_next_words_are_known() {
        let pattern = Pattern::new("show port (info|stats) (N|all) [json]");
        let next = |line: &str| pattern.next(&line.split_whitespace().collect::<Vec<_>>(), &takes);
        assert_eq!(next("show port"), [Next::Word("info"), Next::Word("stats")]);
        assert_eq!(next("show port info"), [Next::Argument("N"), Next::Word("all")]);
        assert_eq!(next("show port info all"), [Next::Word("json"), Next::Return]);
        assert_eq!(next("show port info all json"), [Next::Return]);
        assert_eq!(next("show part"), []);
    }

    #[test]
    fn the_whole_word_wins_over_the_longer_one() {
        let fits = |words: &[&str]| {
            let patterns = [
                Pattern::new("load FILE"),
                Pattern::new("load_echo FILE"),
                Pattern::new("stop"),
                Pattern::new("start"),
            ];
            let found = patterns.iter().enumerate();
            clearest(found.flat_map(|(n, p)| p.fits(words, &takes).into_iter().map(move |m| (n, m))).collect())
                .map(|(n, _)| n)
        };
        assert_eq!(fits(&["load", "f"]), Ok(0));
        assert_eq!(fits(&["load_", "f"]), Ok(1));
        assert_eq!(fits(&["st"]), Err(Unclear::Several));
        assert_eq!(fits(&["lo", "f"]), Err(Unclear::Several));
        assert_eq!(fits(&["run"]), Err(Unclear::None));
    }
}
