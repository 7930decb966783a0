//! Why a node could not do its work: what a catch node gets as `msg.error {message, code}`.

use std::fmt;

use crate::bindings::probity::plugin::types::Failure;

/// `Result` with the SDK's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message for people and, where a flow should be able to tell errors apart, a code.
///
/// Every `std::error::Error` becomes one through `?`.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
    code: Option<String>,
}

impl Error {
    /// An error that says what is wrong, what was expected and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None }
    }

    /// Gives the error a code, for example `"no-such-card"`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Puts `what` in front: `what: message`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The code, if the error has one.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

// As in anyhow: `Error` itself is no `std::error::Error`, so that this can be written for all of them.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = inner.source();
        }
        Self::new(message)
    }
}

impl Error {
    pub(crate) fn from_host(failure: Failure) -> Self {
        Self { message: failure.message, code: failure.code }
    }

    #[doc(hidden)]
    pub fn into_failure(self) -> Failure {
        Failure { message: self.message, code: self.code }
    }
}

/// Says more about an error, or makes one of a missing value.
pub trait ErrorContext<T> {
    /// Puts `what` in front of the error's message; for `None`, `what` is the message.
    fn context(self, what: impl fmt::Display) -> Result<T>;

    /// Gives the error a code; for `None` the message is `missing value`.
    fn code(self, code: &str) -> Result<T>;
}

impl<T, E: Into<Error>> ErrorContext<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(what))
    }

    fn code(self, code: &str) -> Result<T> {
        self.map_err(|error| error.into().with_code(code))
    }
}

impl<T> ErrorContext<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(what.to_string()))
    }

    fn code(self, code: &str) -> Result<T> {
        self.ok_or_else(|| Error::new("missing value").with_code(code))
    }
}

/// Returns an error with this text, written as for `format!`.
#[macro_export]
macro_rules! bail {
    ($($text:tt)+) => { return ::core::result::Result::Err($crate::Error::new(::std::format!($($text)+))) };
}

/// Returns an error with this text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => { if !$condition { $crate::bail!($($text)+) } };
}
