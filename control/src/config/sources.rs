//! The files of a configuration: the one that was named, and those of `conf.d` beside it.
//!
//! They are read one after the other but checked as one. So that every value knows where it stands, each file's text is
//! parsed behind as many blanks as the files before it have bytes: then places are places in all of them together.

use super::Mistake;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Beside the file, the directory with more of them: `*.toml`, in the order of their names.
const DIRECTORY: &str = "conf.d";

/// The texts, with their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    /// Empty for a text that is no file.
    path: PathBuf,
    text: String,
    /// Bytes of the files before it.
    start: usize,
}

impl Sources {
    /// A text without a name.
    pub fn of_text(text: &str) -> Self {
        let mut sources = Self::default();
        sources.push(PathBuf::new(), text.to_owned());
        sources
    }

    /// A file, and those of `conf.d` beside it.
    ///
    /// # Errors
    /// Which file cannot be read.
    pub fn read(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut sources = Self::default();
        let directory = path.with_file_name(DIRECTORY);
        let mut paths = vec![path.to_owned()];
        match std::fs::read_dir(&directory) {
            Ok(entries) => {
                let found: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
                let mut found = found.map_err(|error| (directory, error))?;
                found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
                found.sort();
                paths.extend(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((directory, error)),
        }
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|error| (path.clone(), error))?;
            sources.push(path, text);
        }
        Ok(sources)
    }

    fn push(&mut self, path: PathBuf, text: String) {
        let start = self.files.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.files.push(Source { path, text, start });
    }

    /// Each file's text, behind blanks for those before it.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.files.iter().map(|source| " ".repeat(source.start) + &source.text)
    }

    /// A mistake at a place in all of the files; none is the file at `file` as a whole.
    pub fn mistake(&self, file: usize, span: Option<Range<usize>>, message: impl Into<String>) -> Mistake {
        let none = Source { path: PathBuf::new(), text: String::new(), start: 0 };
        let Some(span) = span else {
            let path = self.files.get(file).unwrap_or(&none).path.clone();
            return Mistake { path, line: 0, column: 0, message: message.into() };
        };
        let source = self.files.iter().rev().find(|source| source.start <= span.start).unwrap_or(&none);
        let before = source.text.get(..span.start - source.start).unwrap_or(&source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Mistake {
            path: source.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    /// Where a file stands among the others, for the order of mistakes.
    pub fn rank(&self, path: &Path) -> usize {
        self.files.iter().position(|source| source.path == path).unwrap_or_default()
    }
}
