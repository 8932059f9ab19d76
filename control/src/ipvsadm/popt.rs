//! Option scanning in the manner of popt 1.19, the library that ipvsadm is built with: short options bundle, `-xVALUE`
//! and `-x=VALUE` are the same, long names are never abbreviated, an optional value is the next argument unless that
//! starts with `-`, and what is no option is kept for the end.

/// What may follow an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value,
    /// A value or nothing.
    Optional,
}

/// A known option.
#[derive(Clone, Copy, Debug)]
pub struct Known<T: 'static> {
    /// After `--`.
    pub long: &'static str,
    /// After `-`.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
    /// What it is.
    pub tag: T,
}

/// Why scanning stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// No such option.
    #[error("unknown option")]
    Unknown,
    /// A value was expected and the line ended.
    #[error("missing argument")]
    MissingArgument,
    /// A value was given to an option that takes none.
    #[error("option does not take an argument")]
    UnwantedArgument,
}

/// Scans one command line, without the program's name.
pub struct Scanner<'a, T: 'static> {
    known: &'static [Known<T>],
    arguments: &'a [String],
    next: usize,
    /// The rest of a bundle of short options.
    bundle: Option<&'a str>,
    only_leftovers: bool,
    leftovers: Vec<&'a str>,
}

impl<'a, T: Copy> Scanner<'a, T> {
    /// Starts at the first argument.
    #[must_use]
    pub fn new(known: &'static [Known<T>], arguments: &'a [String]) -> Self {
        Self { known, arguments, next: 0, bundle: None, only_leftovers: false, leftovers: Vec::new() }
    }

    /// The next option with its value, or none at the end.
    pub fn next_option(&mut self) -> Result<Option<(T, Option<&'a str>)>, Bad> {
        loop {
            if let Some(bundle) = self.bundle.take() {
                return self.short(bundle).map(Some);
            }
            let Some(argument) = self.arguments.get(self.next).map(String::as_str) else { return Ok(None) };
            self.next += 1;
            match argument.strip_prefix('-') {
                Some(rest) if !self.only_leftovers && !rest.is_empty() => match rest.strip_prefix('-') {
                    Some("") => self.only_leftovers = true,
                    Some(long) => return self.long(long).map(Some),
                    None => self.bundle = Some(rest),
                },
                _ => self.leftovers.push(argument),
            }
        }
    }

    /// The argument that was scanned last: the one an error is about.
    #[must_use]
    pub fn last(&self) -> &'a str {
        self.next.checked_sub(1).map_or("", |index| &self.arguments[index])
    }

    /// What was no option, in order. Whole only after the last option.
    #[must_use]
    pub fn leftovers(self) -> Vec<&'a str> {
        self.leftovers
    }

    fn long(&mut self, text: &'a str) -> Result<(T, Option<&'a str>), Bad> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let known = self.known.iter().find(|known| known.long == name).ok_or(Bad::Unknown)?;
        match (known.takes, value) {
            (Takes::Nothing, Some(_)) => Err(Bad::UnwantedArgument),
            (Takes::Nothing, None) => Ok((known.tag, None)),
            (_, Some(value)) => Ok((known.tag, Some(value))),
            (takes, None) => Ok((known.tag, self.separate_value(takes)?)),
        }
    }

    fn short(&mut self, bundle: &'a str) -> Result<(T, Option<&'a str>), Bad> {
        let mut rest = bundle.chars();
        let letter = rest.next();
        let known = self.known.iter().find(|known| known.short.is_some() && known.short == letter);
        let known = known.ok_or(Bad::Unknown)?;
        let rest = Some(rest.as_str()).filter(|rest| !rest.is_empty());
        match (known.takes, rest) {
            (Takes::Nothing, Some(rest)) if rest.starts_with('=') => Err(Bad::UnwantedArgument),
            (Takes::Nothing, rest) => {
                self.bundle = rest;
                Ok((known.tag, None))
            }
            (_, Some(rest)) => Ok((known.tag, Some(rest.strip_prefix('=').unwrap_or(rest)))),
            (takes, None) => Ok((known.tag, self.separate_value(takes)?)),
        }
    }

    fn separate_value(&mut self, takes: Takes) -> Result<Option<&'a str>, Bad> {
        match self.arguments.get(self.next) {
            None if takes == Takes::Optional => Ok(None),
            None => Err(Bad::MissingArgument),
            Some(value) if takes == Takes::Optional && value.starts_with('-') => Ok(None),
            Some(value) => {
                self.next += 1;
                Ok(Some(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known<char>] = &[
        Known { long: "all", short: Some('a'), takes: Takes::Nothing, tag: 'a' },
        Known { long: "weight", short: Some('w'), takes: Takes::Value, tag: 'w' },
        Known { long: "persistent", short: Some('p'), takes: Takes::Optional, tag: 'p' },
        Known { long: "only-long", short: None, takes: Takes::Value, tag: 'l' },
    ];

    /// Options with values, then leftovers; or the error and the argument it is about.
    fn scan(line: &str) -> String {
        let arguments: Vec<String> = line.split('|').map(str::to_owned).collect();
        let mut scanner = Scanner::new(KNOWN, &arguments);
        let mut seen = String::new();
        loop {
            match scanner.next_option() {
                Ok(Some((tag, value))) => {
                    seen += &format!("{tag}{} ", value.map(|v| format!("={v}")).unwrap_or_default())
                }
                Ok(None) => return seen + &scanner.leftovers().join(","),
                Err(bad) => return format!("{seen}{}: {bad}", scanner.last()),
            }
        }
    }

    #[test]
    fn spellings() {
        let rows = [
            ("-a|-w|5", "a w=5 "),
            ("-aw5", "a w=5 "),
            ("-aw=5|x", "a w=5 x"),
            ("--weight=5|--weight|6", "w=5 w=6 "),
            ("--weight=", "w= "),
            ("-w|-a", "w=-a "),
            ("-p|-a", "p a "),
            ("-p|9|-ap", "p=9 a p "),
            ("-p9|-p=8|--persistent=7|--persistent|6", "p=9 p=8 p=7 p=6 "),
            ("-|x|--|-a", "-,x,-a"),
            ("|-a", "a "),
            ("-w", "-w: missing argument"),
            ("-aw", "a -aw: missing argument"),
            ("-ax", "a -ax: unknown option"),
            ("-a=3", "-a=3: option does not take an argument"),
            ("--all=3", "--all=3: option does not take an argument"),
            ("--al", "--al: unknown option"),
            ("-only-long|5", "-only-long: unknown option"),
            ("---", "---: unknown option"),
            ("--=", "--=: unknown option"),
            ("-p|-1", "p -1: unknown option"),
            ("-ä", "-ä: unknown option"),
        ];
        for (line, expected) in rows {
            assert_eq!(scan(line), expected, "{line}");
        }
    }
}
