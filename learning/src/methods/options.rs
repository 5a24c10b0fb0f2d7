//! Options in a method's name: `name:key=value,key=value`.

use std::str::FromStr;
use std::sync::Arc;

use super::Heads;
use crate::Error;
use crate::architectures::{Architecture, architecture};

/// The options of one method, each taken once.
#[derive(Debug)]
pub(super) struct Options {
    method: String,
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Options {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let (method, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut options = Self { method: method.trim().to_owned(), left: Vec::new(), known: Vec::new() };
        for item in rest.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some((key, value)) = item.split_once('=') else {
                return Err(options.refuse(format!("{item:?} is not of the form key=value")));
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if options.left.iter().any(|(k, _)| *k == key) {
                return Err(options.refuse(format!("option {key} is given twice")));
            }
            options.left.push((key, value));
        }
        Ok(options)
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// The text of an option.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let at = self.left.iter().position(|(k, _)| k == key)?;
        Some(self.left.remove(at).1)
    }

    /// The architecture that an option names.
    pub(super) fn architecture(&mut self, key: &'static str) -> Result<Option<Arc<dyn Architecture>>, Error> {
        self.text(key).map(|name| architecture(&name)).transpose()
    }

    /// An option's value; `form` says what is accepted.
    pub(super) fn value<T: FromStr>(&mut self, key: &'static str, form: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.refuse(format!("option {key} is {text:?}, expected {form}")))
    }

    /// A learning rate.
    pub(super) fn rate(&mut self, key: &'static str) -> Result<Option<f32>, Error> {
        let form = "a finite number of at least 0";
        match self.value::<f32>(key, form)? {
            Some(rate) if !rate.is_finite() || rate < 0.0 => {
                Err(self.refuse(format!("option {key} is \"{rate}\", expected {form}")))
            }
            rate => Ok(rate),
        }
    }

    /// A bound.
    pub(super) fn positive(&mut self, key: &'static str) -> Result<Option<f32>, Error> {
        let form = "a finite number above 0";
        match self.value::<f32>(key, form)? {
            Some(x) if !x.is_finite() || x <= 0.0 => {
                Err(self.refuse(format!("option {key} is \"{x}\", expected {form}")))
            }
            x => Ok(x),
        }
    }

    /// A momentum.
    pub(super) fn fraction(&mut self, key: &'static str) -> Result<Option<f32>, Error> {
        let form = "a number from 0 to below 1";
        match self.value::<f32>(key, form)? {
            Some(x) if !(0.0..1.0).contains(&x) => {
                Err(self.refuse(format!("option {key} is \"{x}\", expected {form}")))
            }
            x => Ok(x),
        }
    }

    /// A factor that makes nothing grow.
    pub(super) fn share(&mut self, key: &'static str) -> Result<Option<f32>, Error> {
        let form = "a number from 0 to 1";
        match self.value::<f32>(key, form)? {
            Some(x) if !(0.0..=1.0).contains(&x) => {
                Err(self.refuse(format!("option {key} is \"{x}\", expected {form}")))
            }
            x => Ok(x),
        }
    }

    /// The size of batches that have a variance.
    pub(super) fn batch(&mut self, key: &'static str) -> Result<Option<usize>, Error> {
        let form = "a whole number of at least 2";
        match self.value::<usize>(key, form)? {
            Some(n) if n < 2 => Err(self.refuse(format!("option {key} is \"{n}\", expected {form}"))),
            n => Ok(n),
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        self.value(key, "true or false")
    }

    /// One of these words.
    pub(super) fn choice(&mut self, key: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, Error> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let found = words.iter().copied().find(|word| *word == text);
        found.map(Some).ok_or_else(|| self.refuse(format!("option {key} is {text:?}, expected {}", words.join(" or "))))
    }

    /// Refuses whatever was not taken, and a head that the method does not have.
    pub(super) fn finish(mut self, heads: Heads) -> Result<(), Error> {
        match (heads, self.choice("head", &["linear", "etf"])?) {
            (Heads::Linear(why), Some("etf")) => {
                return Err(self.refuse(format!("option head is \"etf\", but its head is always linear: {why}")));
            }
            (Heads::Etf, Some("linear")) => {
                let why = "what it shares are directions that are compared with the class vectors";
                return Err(self.refuse(format!("option head is \"linear\", but its head is always etf: {why}")));
            }
            _ => {}
        }
        let Some((key, _)) = self.left.first() else { return Ok(()) };
        let known = if self.known.is_empty() { "it has none".to_owned() } else { self.known.join(", ") };
        Err(self.refuse(format!("unknown option {key:?}; known: {known}")))
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Option { method: self.method.clone(), reason }
    }
}

/// A method's name with those of its options that are given.
pub(super) fn spelling(name: &str, options: impl IntoIterator<Item = Option<String>>) -> String {
    let options: Vec<String> = options.into_iter().flatten().collect();
    if options.is_empty() { name.to_owned() } else { format!("{name}:{}", options.join(",")) }
}
