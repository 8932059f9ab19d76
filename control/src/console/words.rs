//! A line's words: as a shell splits them, with quotes and comments, and nothing else of a shell.

/// Splits a line at blanks. `"…"` and `'…'` keep blanks together; a word that starts with `#` ends the line.
///
/// # Errors
/// What is wrong: a quote that does not end.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, _) if character.is_whitespace() || character == '\0' => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("Bad arguments: a quote is not closed") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_by_a_shell() {
        let rows: [(&str, &[&str]); 7] = [
            ("", &[]),
            ("  show \t vs\r", &["show", "vs"]),
            ("set vs sync_threshold '3 50'", &["set", "vs", "sync_threshold", "3 50"]),
            ("a\"b c\"d", &["ab cd"]),
            ("a '' b", &["a", "", "b"]),
            ("start # now", &["start"]),
            ("a#b", &["a#b"]),
        ];
        for (line, expected) in rows {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        assert!(split("load 'f").is_err());
    }
}
