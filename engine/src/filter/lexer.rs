//! From the text of a filter to tokens, each with its bytes.

use std::ops::Range;
use std::sync::Arc;

use twinbit_storage::Comparison;

use super::error::{FilterError, FilterProblem};
use crate::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Word(Word),
    Value(Value),
    Compare(Comparison),
    Open,
    Close,
    Comma,
    End,
}

/// The words of the language; no field has such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    And,
    Or,
    Not,
    In,
    Is,
    Null,
}

pub(super) struct Lexer {
    text: Arc<str>,
    position: usize,
}

fn starts_name(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn continues_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word(name: &str) -> Token {
    match name.to_ascii_lowercase().as_str() {
        "and" => Token::Word(Word::And),
        "or" => Token::Word(Word::Or),
        "not" => Token::Word(Word::Not),
        "in" => Token::Word(Word::In),
        "is" => Token::Word(Word::Is),
        "null" => Token::Word(Word::Null),
        "true" => Token::Value(Value::Bool(true)),
        "false" => Token::Value(Value::Bool(false)),
        _ => Token::Name(name.to_owned()),
    }
}

impl Lexer {
    pub(super) fn new(text: Arc<str>) -> Self {
        Lexer { text, position: 0 }
    }

    fn rest(&self) -> &str {
        self.text.get(self.position..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance();
        }
        found
    }

    /// Moves over the characters that `belongs` accepts and returns them.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &str {
        let start = self.position;
        while self.peek().is_some_and(&belongs) {
            self.advance();
        }
        self.text.get(start..self.position).unwrap_or("")
    }

    fn error<T>(&self, problem: FilterProblem, bytes: Range<usize>) -> Result<T, FilterError> {
        Err(FilterError::at(problem, &self.text, bytes))
    }

    /// The next token and its bytes; [`Token::End`] at the end, again and again.
    pub(super) fn next(&mut self) -> Result<(Token, Range<usize>), FilterError> {
        self.take_while(char::is_whitespace);
        let start = self.position;
        let token = self.token(start)?;
        Ok((token, start..self.position))
    }

    fn token(&mut self, start: usize) -> Result<Token, FilterError> {
        let Some(character) = self.peek() else {
            return Ok(Token::End);
        };
        match character {
            '"' | '\'' => return self.quoted(start, character).map(|text| Token::Value(Value::Str(text))),
            '-' | '0'..='9' => return self.number(start),
            first if starts_name(first) => return Ok(word(self.take_while(continues_name))),
            _ => {}
        }
        self.advance();
        let hint = match character {
            '(' => return Ok(Token::Open),
            ')' => return Ok(Token::Close),
            ',' => return Ok(Token::Comma),
            '<' if self.take('=') => return Ok(Token::Compare(Comparison::Le)),
            '<' if self.peek() == Some('>') => {
                return self.error(
                    FilterProblem::Character { character: '>', hint: ": `not equal` is written !=" },
                    start..self.position + 1,
                );
            }
            '<' => return Ok(Token::Compare(Comparison::Lt)),
            '>' if self.take('=') => return Ok(Token::Compare(Comparison::Ge)),
            '>' => return Ok(Token::Compare(Comparison::Gt)),
            '=' if self.peek() == Some('=') => {
                return self.error(
                    FilterProblem::Character { character: '=', hint: ": `equal` is written with one =" },
                    start..self.position + 1,
                );
            }
            '=' => return Ok(Token::Compare(Comparison::Eq)),
            '!' if self.take('=') => return Ok(Token::Compare(Comparison::Ne)),
            '!' => ": a negation is written not",
            '&' => ": write and",
            '|' => ": write or",
            '+' => ": positive numbers are written without a sign",
            _ => "",
        };
        self.error(FilterProblem::Character { character, hint }, start..self.position)
    }

    fn quoted(&mut self, start: usize, quote: char) -> Result<String, FilterError> {
        self.advance();
        let mut text = String::new();
        loop {
            let at = self.position;
            match self.advance() {
                None => return self.error(FilterProblem::UnclosedQuote, start..self.position),
                Some('\\') => match self.escape() {
                    Some(character) => text.push(character),
                    None => return self.error(FilterProblem::Escape, at..self.position),
                },
                Some(character) if character == quote => return Ok(text),
                Some(character) => text.push(character),
            }
        }
    }

    /// The character an escape stands for; the backslash is behind us.
    fn escape(&mut self) -> Option<char> {
        match self.advance()? {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            '0' => Some('\0'),
            same @ ('"' | '\'' | '\\') => Some(same),
            'u' if self.take('{') => {
                let code =
                    u32::from_str_radix(self.take_while(|digit| digit.is_ascii_hexdigit()), 16).ok()?;
                if self.take('}') { char::from_u32(code) } else { None }
            }
            _ => None,
        }
    }

    /// `-? digits (. digits)? (e sign? digits)?`
    fn number(&mut self, start: usize) -> Result<Token, FilterError> {
        self.take('-');
        let mut sound = !self.take_while(|digit| digit.is_ascii_digit()).is_empty();
        let mut integer = true;
        if self.take('.') {
            integer = false;
            sound &= !self.take_while(|digit| digit.is_ascii_digit()).is_empty();
        }
        if self.take('e') || self.take('E') {
            integer = false;
            if !self.take('-') {
                self.take('+');
            }
            sound &= !self.take_while(|digit| digit.is_ascii_digit()).is_empty();
        }
        // Letters that touch a number belong to it, so that `12ab` is one mistake, not two tokens.
        sound &= self.take_while(|character| continues_name(character) || character == '.').is_empty();
        let text = self.text.get(start..self.position).unwrap_or("");
        let value = match (sound, integer) {
            (false, _) => None,
            (true, true) => text.parse().map(Value::I64).or_else(|_| text.parse().map(Value::U64)).ok(),
            (true, false) => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::F64),
        };
        match value {
            Some(value) => Ok(Token::Value(value)),
            None => {
                let text = text.chars().take(40).collect();
                self.error(FilterProblem::Number { text }, start..self.position)
            }
        }
    }
}
