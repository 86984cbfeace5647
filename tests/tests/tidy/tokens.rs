//! Rust source as a flat row of tokens. Doc comments are left out, test code is marked.

use std::collections::BTreeSet;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One token. A bracket counts as two: where it opens and where it closes.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Belongs to an item under `#[test]` or `#[cfg(test)]`.
    pub(crate) is_test: bool,
}

/// A function with a body.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) n_lines: usize,
    pub(crate) is_test: bool,
}

/// A tokenised file.
pub(crate) struct Source {
    /// From the repository's root.
    pub(crate) path: String,
    pub(crate) n_lines: usize,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
}

impl Source {
    pub(crate) fn read(path: &str, text: &str) -> Self {
        let stream = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        let mut source =
            Self { path: path.to_owned(), n_lines: text.lines().count(), tokens: Vec::new(), functions: Vec::new() };
        source.flatten(stream, false);
        source
    }

    /// Where `pattern` occurs: Rust tokens, of which only the last bracket may be open.
    pub(crate) fn find(&self, pattern: &str) -> Vec<&Token> {
        let wanted = texts(pattern);
        let starts = self.tokens.windows(wanted.len());
        starts.filter(|row| row.iter().map(|token| &token.text).eq(&wanted)).map(|row| &row[0]).collect()
    }

    fn flatten(&mut self, stream: TokenStream, in_test: bool) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut test_item = false;
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            if let (TokenTree::Punct(hash), Some(TokenTree::Group(attribute))) = (tree, trees.get(at + 1))
                && hash.as_char() == '#'
            {
                let words = idents(attribute);
                if words.first().is_some_and(|word| word == "doc") {
                    at += 2;
                    continue;
                }
                test_item |= marks_test(&words);
            }
            let is_test = in_test || test_item;
            if let Some(function) = function_at(&trees[at..], is_test) {
                self.functions.push(function);
            }
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = brackets(group.delimiter());
                    self.push(open, group.span_open().start().line, is_test);
                    self.flatten(group.stream(), is_test);
                    self.push(close, group.span_close().start().line, is_test);
                    test_item &= group.delimiter() != Delimiter::Brace;
                }
                other => {
                    let text = other.to_string();
                    test_item &= text != ";";
                    self.push(&text, other.span().start().line, is_test);
                }
            }
            at += 1;
        }
    }

    fn push(&mut self, text: &str, line: usize, is_test: bool) {
        if !text.is_empty() {
            self.tokens.push(Token { text: text.to_owned(), line, is_test });
        }
    }
}

impl Token {
    /// The content of a string literal as written, escapes and all.
    pub(crate) fn string(&self) -> Option<&str> {
        let quoted = self.text.trim_start_matches(['b', 'c', 'r']).trim_matches('#');
        quoted.strip_prefix('"')?.strip_suffix('"')
    }
}

fn texts(pattern: &str) -> Vec<String> {
    let (closed, open) = pattern.strip_suffix('(').map_or((pattern, None), |closed| (closed, Some("(".to_owned())));
    Source::read("pattern", closed).tokens.into_iter().map(|token| token.text).chain(open).collect()
}

/// All words of an attribute, at any depth.
fn idents(group: &Group) -> Vec<String> {
    let mut words = Vec::new();
    for tree in group.stream() {
        match tree {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Group(inner) => words.extend(idents(&inner)),
            TokenTree::Punct(_) | TokenTree::Literal(_) => (),
        }
    }
    words
}

fn marks_test(attribute: &[String]) -> bool {
    let words: BTreeSet<&str> = attribute.iter().map(String::as_str).collect();
    let first = attribute.first().map(String::as_str);
    words.contains("test") && !words.contains("not") && first != Some("cfg_attr")
}

fn function_at(trees: &[TokenTree], is_test: bool) -> Option<Function> {
    let [TokenTree::Ident(keyword), TokenTree::Ident(name), rest @ ..] = trees else { return None };
    if keyword != "fn" {
        return None;
    }
    let end = rest.iter().find_map(|tree| match tree {
        TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => Some(Some(body.span_close().start().line)),
        TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
        _ => None,
    });
    let line = keyword.span().start().line;
    Some(Function { name: name.to_string(), line, n_lines: end?? - line + 1, is_test })
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[test]
fn test_code_and_doc_comments_are_told_from_code() {
    let source = Source::read(
        "example",
        "/// async in prose\nfn one() { /* async */ \"async\"; }\n#[cfg(test)]\nmod tests {\n    async fn two() {}\n}\nasync fn three() {}",
    );
    let found: Vec<_> = source.find("async").iter().map(|token| (token.line, token.is_test)).collect();
    assert_eq!(found, [(5, true), (7, false)]);
    let functions: Vec<_> = source.functions.iter().map(|f| (f.name.as_str(), f.line, f.n_lines, f.is_test)).collect();
    assert_eq!(functions, [("one", 2, 1, false), ("two", 5, 1, true), ("three", 7, 1, false)]);
}
