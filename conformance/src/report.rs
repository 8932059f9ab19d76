//! How it went, and how that is told.

use std::fmt;

/// One thing that was recorded and replayed.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name within its file.
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a case went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As recorded.
    Passed,
    /// Otherwise.
    Failed {
        /// What was recorded.
        expected: String,
        /// What RVS did.
        got: String,
    },
    /// It was not compared.
    Skipped {
        /// Why, from `docs/differences.md`.
        reason: String,
    },
}

impl Case {
    /// It went as recorded.
    #[must_use]
    pub fn passed(name: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Passed }
    }

    /// It did not.
    #[must_use]
    pub fn failed(name: impl Into<String>, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self { name: name.into(), outcome: Outcome::Failed { expected, got } }
    }

    /// It was not compared.
    #[must_use]
    pub fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Skipped { reason: reason.into() } }
    }

    /// Passed if there is no difference, else failed by all of them.
    #[must_use]
    pub fn of(name: impl Into<String>, differences: Vec<Difference>) -> Self {
        if differences.is_empty() {
            return Self::passed(name);
        }
        let join = |side: fn(&Difference) -> &str| {
            let at = |difference| format!("{}: {}", Difference::at(difference), side(difference));
            differences.iter().map(at).collect::<Vec<_>>().join("\n")
        };
        let (expected, got) = (join(|difference| &difference.expected), join(|difference| &difference.got));
        Self::failed(name, expected, got)
    }
}

/// A place where a case did not go as recorded.
#[derive(Clone, Debug)]
pub struct Difference {
    at: String,
    expected: String,
    got: String,
}

impl Difference {
    /// At this step.
    #[must_use]
    pub fn new(at: impl Into<String>, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self { at: at.into(), expected: expected.to_string(), got: got.to_string() }
    }

    fn at(&self) -> &str {
        &self.at
    }
}

/// The cases of one file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its group and name.
    pub name: String,
    /// In order.
    pub cases: Vec<Case>,
}

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl File {
    /// How many cases went how.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for case in &self.cases {
            *match case.outcome {
                Outcome::Passed => &mut tally.passed,
                Outcome::Failed { .. } => &mut tally.failed,
                Outcome::Skipped { .. } => &mut tally.skipped,
            } += 1;
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl fmt::Display for File {
    /// A line, and below it each case that failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.cases.as_slice() {
            [Case { outcome: Outcome::Skipped { reason }, .. }] => format!(" ({reason})"),
            _ => String::new(),
        };
        writeln!(f, "{}: {}{reason}", self.name, self.tally())?;
        for case in &self.cases {
            if let Outcome::Failed { expected, got } = &case.outcome {
                writeln!(f, "  FAILED {}", case.name)?;
                indent(f, "expected", expected)?;
                indent(f, "got", got)?;
            }
        }
        Ok(())
    }
}

fn indent(f: &mut fmt::Formatter<'_>, title: &str, text: &str) -> fmt::Result {
    writeln!(f, "    {title}")?;
    text.lines().try_for_each(|line| writeln!(f, "      {line}"))
}

/// All files.
#[derive(Clone, Debug)]
pub struct Report {
    /// In order of their names.
    pub files: Vec<File>,
}

impl Report {
    /// The sum over all files.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.files.iter().map(File::tally).fold(Tally::default(), |sum, file| Tally {
            passed: sum.passed + file.passed,
            failed: sum.failed + file.failed,
            skipped: sum.skipped + file.skipped,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| file.fmt(f))?;
        writeln!(f, "{}", self.tally())
    }
}
