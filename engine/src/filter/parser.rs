//! From tokens to a [`Filter`], by recursive descent with a bound on the depth.

use std::ops::Range;
use std::sync::Arc;

use super::error::{FilterError, FilterProblem, Place};
use super::expression::{FieldName, Filter, Located};
use super::lexer::{Lexer, Token, Word};
use super::{MAX_DEPTH, MAX_TEXT_BYTES};
use crate::Value;

impl Filter {
    /// Reads a filter such as `year >= 2015 and (lang = "en" or lang is null)`.
    ///
    /// Field names and types are not checked here but where the filter is used, with the same
    /// kind of error and place.
    ///
    /// # Errors
    /// [`FilterError`] with the byte where the text stops making sense.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = FilterProblem::TooLong { bytes: text.len(), limit: MAX_TEXT_BYTES };
            return Err(FilterError::new(problem, None));
        }
        let text: Arc<str> = Arc::from(text);
        let mut lexer = Lexer::new(Arc::clone(&text));
        let (token, bytes) = lexer.next()?;
        let mut parser = Parser { text, lexer, token, bytes };
        let filter = parser.any(0)?;
        match parser.token {
            Token::End => Ok(filter),
            _ => parser.expected("`and`, `or` or the end of the filter"),
        }
    }
}

struct Parser {
    text: Arc<str>,
    lexer: Lexer,
    /// The token to be read next, and its bytes.
    token: Token,
    bytes: Range<usize>,
}

impl Parser {
    fn advance(&mut self) -> Result<(Token, Range<usize>), FilterError> {
        let (token, bytes) = self.lexer.next()?;
        Ok((std::mem::replace(&mut self.token, token), std::mem::replace(&mut self.bytes, bytes)))
    }

    /// Moves over `token` when it is next.
    fn take(&mut self, token: &Token) -> Result<bool, FilterError> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, FilterError> {
        let found = match self.token {
            Token::End => "the end of the filter".to_owned(),
            _ => {
                let written = self.text.get(self.bytes.clone()).unwrap_or("");
                format!("`{}`", written.chars().take(40).collect::<String>())
            }
        };
        Err(FilterError::at(FilterProblem::Expected { expected, found }, &self.text, self.bytes.clone()))
    }

    fn place(&self, bytes: Range<usize>) -> Option<Place> {
        Some(Place { text: Arc::clone(&self.text), bytes })
    }

    /// all (`or` all)*
    fn any(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut filter = self.all(depth)?;
        while self.take(&Token::Word(Word::Or))? {
            filter = filter | self.all(depth)?;
        }
        Ok(filter)
    }

    /// negation (`and` negation)*
    fn all(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut filter = self.negation(depth)?;
        while self.take(&Token::Word(Word::And))? {
            filter = filter & self.negation(depth)?;
        }
        Ok(filter)
    }

    /// `not` negation | `(` any `)` | comparison
    fn negation(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth >= MAX_DEPTH {
            let problem = FilterProblem::TooDeep { limit: MAX_DEPTH };
            return Err(FilterError::at(problem, &self.text, self.bytes.clone()));
        }
        if self.take(&Token::Word(Word::Not))? {
            return Ok(!self.negation(depth + 1)?);
        }
        if self.take(&Token::Open)? {
            let filter = self.any(depth + 1)?;
            if !self.take(&Token::Close)? {
                return self.expected("`and`, `or` or `)`");
            }
            return Ok(filter);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, FilterError> {
        if !matches!(self.token, Token::Name(_)) {
            return self.expected("a field name");
        }
        let (Token::Name(name), bytes) = self.advance()? else {
            return self.expected("a field name");
        };
        let field = FieldName::located(Located { value: name, place: self.place(bytes) });
        match self.token {
            Token::Compare(comparison) => {
                self.advance()?;
                Ok(field.compare(comparison, self.value("a value")?))
            }
            Token::Word(Word::In) => {
                self.advance()?;
                Ok(field.any_of(self.list()?))
            }
            Token::Word(Word::Is) => {
                self.advance()?;
                let negated = self.take(&Token::Word(Word::Not))?;
                if !self.take(&Token::Word(Word::Null))? {
                    return self.expected("`null` or `not null`");
                }
                Ok(if negated { field.not_null() } else { field.is_null() })
            }
            Token::Word(Word::Not) => {
                self.expected("an operator (`not` stands before the field: not a in (1, 2))")
            }
            _ => self.expected("one of = != < <= > >= in is"),
        }
    }

    fn list(&mut self) -> Result<Vec<Located<Value>>, FilterError> {
        if !self.take(&Token::Open)? {
            return self.expected("`(` and a list of values");
        }
        let mut values = Vec::new();
        while !self.take(&Token::Close)? {
            if !values.is_empty() && !self.take(&Token::Comma)? {
                return self.expected("`,` or `)`");
            }
            values.push(self.value("a value")?);
        }
        Ok(values)
    }

    fn value(&mut self, expected: &'static str) -> Result<Located<Value>, FilterError> {
        match self.token {
            Token::Value(_) => {}
            Token::Word(Word::Null) => {
                return self.expected("a value (a missing field is asked for with `is null`)");
            }
            Token::Name(_) => return self.expected("a value (text is written in quotes)"),
            _ => return self.expected(expected),
        }
        match self.advance()? {
            (Token::Value(value), bytes) => Ok(Located { value, place: self.place(bytes) }),
            _ => self.expected(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::field;
    use super::*;

    fn problem_at(text: &str) -> (usize, FilterProblem) {
        let error = Filter::parse(text).expect_err(text);
        (error.position().expect("a place"), error.problem().clone())
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_tightest() {
        let read = Filter::parse("a = 1 or b = 2 and not c = 3").expect("reads");
        assert_eq!(read, field("a").eq(1) | (field("b").eq(2) & !field("c").eq(3)));
        let read = Filter::parse("(a = 1 OR b = 2) AND NOT (c = 3 or d is NULL)").expect("reads");
        assert_eq!(read, (field("a").eq(1) | field("b").eq(2)) & !(field("c").eq(3) | field("d").is_null()));
    }

    #[test]
    fn every_comparison_and_literal_is_read() {
        let read = |text| Filter::parse(text).expect(text);
        assert_eq!(read("a != -5"), field("a").ne(-5));
        assert_eq!(read("a<=18446744073709551615"), field("a").le(u64::MAX));
        assert_eq!(read("a>=-1.5e-3"), field("a").ge(-1.5e-3));
        assert_eq!(read("a < TRUE"), field("a").lt(true));
        assert_eq!(read(r#"a > 'it\'s "so" \\ \u{1F600}'"#), field("a").gt("it's \"so\" \\ \u{1F600}"));
        assert_eq!(read("a in (1, 2.0, 'x')"), field("a").one_of([Value::from(1), 2.0.into(), "x".into()]));
        assert_eq!(read("a is not null"), field("a").not_null());
        assert_eq!(read("größe = 1 and _x9 = 2"), field("größe").eq(1) & field("_x9").eq(2));
    }

    #[test]
    fn errors_name_the_byte_and_what_was_expected() {
        let expected = |problem| match problem {
            FilterProblem::Expected { expected, .. } => expected,
            other => panic!("{other:?}"),
        };
        for (text, position, wanted) in [
            ("", 0, "a field name"),
            ("year", 4, "one of = "),
            ("year >= ", 8, "a value"),
            ("year = x", 7, "a value (text"),
            ("year = null", 7, "a value (a missing"),
            ("year in 5", 8, "`("),
            ("year in (5 6)", 11, "`,` or"),
            ("year in (,)", 9, "a value"),
            ("year is 5", 8, "`null`"),
            ("year not in (5)", 5, "an operator"),
            ("(year = 5", 9, "`and`, `or` or `)`"),
            ("year = 5 lang = 6", 9, "`and`, `or` or the end"),
            ("2015 <= year", 0, "a field name"),
        ] {
            let (at, problem) = problem_at(text);
            let found = expected(problem);
            assert!(at == position && found.starts_with(wanted), "{text}: {at} {found}");
        }
    }

    #[test]
    fn malformed_tokens_are_named() {
        assert!(matches!(problem_at("a == 1"), (2, FilterProblem::Character { character: '=', .. })));
        assert!(matches!(problem_at("a <> 1"), (2, FilterProblem::Character { .. })));
        assert!(matches!(problem_at("a = 1 & b = 2"), (6, FilterProblem::Character { character: '&', .. })));
        assert!(matches!(problem_at("a = \"x"), (4, FilterProblem::UnclosedQuote)));
        assert!(matches!(problem_at("a = '\\q'"), (5, FilterProblem::Escape)));
        assert!(matches!(problem_at("a = '\\u{110000}'"), (5, FilterProblem::Escape)));
        for number in ["1e999", "12ab", "-", "1.", "1e", "1.2.3", &"9".repeat(60)] {
            let (at, problem) = problem_at(&format!("a = {number}"));
            assert!(matches!(problem, FilterProblem::Number { .. }) && at == 4, "{number}: {problem:?}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |levels: usize| format!("{}a = 1{}", "(".repeat(levels), ")".repeat(levels));
        assert!(Filter::parse(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(matches!(problem_at(&nested(MAX_DEPTH)), (MAX_DEPTH, FilterProblem::TooDeep { .. })));
        let (_, problem) = problem_at(&format!("{}a = 1", "not ".repeat(10_000)));
        assert!(matches!(problem, FilterProblem::TooDeep { .. }));
        let error = Filter::parse(&" ".repeat(MAX_TEXT_BYTES + 1)).expect_err("too long");
        assert!(matches!(error.problem(), FilterProblem::TooLong { .. }));
    }

    /// Texts made of pieces of the language and of noise, then changed at random: each is read or
    /// refused with a place inside the text, and never panics; what is read reads back.
    #[test]
    fn mutated_filters_never_panic() {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let pieces = [
            "year",
            "`",
            ">=",
            "=",
            "!=",
            "in",
            "(",
            ")",
            ",",
            "is",
            "not",
            "null",
            "and",
            "or",
            "2015",
            "-1.5e3",
            "\"x\"",
            "'\\u{41}'",
            "true",
            "\\",
            "\"",
            "'",
            "`",
            "\u{0}",
            "ü",
            "\u{1F600}",
            "9999999999999999999999",
            ".",
            "\n",
        ];
        let mut read = 0;
        for _ in 0..20_000 {
            let seed = ["year >= 2015 and lang = \"en\"", "not (a in (1, 'x') or b is not null)", ""];
            let mut text: Vec<char> = seed[random.random_range(0..3)].chars().collect();
            for _ in 0..random.random_range(0..6) {
                let at = random.random_range(0..=text.len());
                match random.random_range(0..3) {
                    0 if at < text.len() => {
                        text.remove(at);
                    }
                    1 => text.truncate(at),
                    _ => {
                        let piece = pieces[random.random_range(0..pieces.len())];
                        text.splice(at..at, piece.chars());
                    }
                }
            }
            let text: String = text.into_iter().collect();
            match Filter::parse(&text) {
                Ok(filter) => {
                    read += 1;
                    assert_eq!(Filter::parse(&filter.to_string()).expect("reads back"), filter);
                }
                Err(error) => {
                    assert!(error.position().is_none_or(|at| text.is_char_boundary(at)), "{text:?}");
                    assert!(error.render().lines().count() <= 4, "{text:?}");
                }
            }
        }
        assert!(read > 1_000, "{read}");
    }
}
