//! What a call came to: statuses, and errors that carry one.

use crate::sys;
use std::error::Error as StdError;
use std::fmt;

/// What the functions of a plugin fail with: any error, and any text. `?` makes it of them.
///
/// The status that the host gets is that of a [`Failure`], `Io` for a [`std::io::Error`], and
/// `Failed` for all else; [`Status::because`] and [`OrStatus`] say another.
pub type Error = Box<dyn StdError + Send + Sync>;

/// The result of a plugin's functions.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// What a plugin did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not for this plugin: as good as done.
    Ignored,
}

macro_rules! statuses {
    ($($name:ident = $number:ident,)+) => {
        /// A status of the contract; see "Statuses" in slipstream.h for what the host does then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Status {
            $(#[doc = concat!("`SLIPSTREAM_", stringify!($number), "`")] $name,)+
        }

        impl Status {
            /// The number that crosses the boundary.
            pub const fn number(self) -> i32 {
                match self { $(Status::$name => sys::$number,)+ }
            }

            /// The status of a number; one that is not known is `Failed`.
            pub const fn of(number: i32) -> Status {
                match number { $(sys::$number => Status::$name,)+ _ => Status::Failed }
            }
        }

        impl fmt::Display for Status {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Status::$name => stringify!($number),)+ })
            }
        }
    };
}

statuses! {
    Ok = OK,
    Ignored = IGNORED,
    Failed = FAILED,
    Retry = RETRY,
    NotFound = NOT_FOUND,
    Unsupported = UNSUPPORTED,
    InvalidArgument = INVALID_ARGUMENT,
    InvalidConfig = INVALID_CONFIG,
    Malformed = MALFORMED,
    WrongState = WRONG_STATE,
    TooLarge = TOO_LARGE,
    OutOfRange = OUT_OF_RANGE,
    WrongType = WRONG_TYPE,
    NoMemory = NO_MEMORY,
    Io = IO,
    Timeout = TIMEOUT,
    Denied = DENIED,
    Fatal = FATAL,
    Panic = PANIC,
}

impl Status {
    /// An error with this status: `Err(Status::Retry.because("the database is away"))`.
    pub fn because(self, text: impl fmt::Display) -> Error {
        Box::new(Failure {
            status: self,
            text: text.to_string(),
        })
    }

    /// The status that an error gives the host.
    pub fn of_error(error: &Error) -> Status {
        match error.downcast_ref::<Failure>() {
            // A success is no reason to fail, and a panic is only what was caught.
            Some(failure) => match failure.status {
                Status::Ok | Status::Ignored | Status::Panic => Status::Failed,
                status => status,
            },
            None if error.is::<std::io::Error>() => Status::Io,
            None => Status::Failed,
        }
    }
}

/// An error that says which status the host gets.
#[derive(Debug)]
pub struct Failure {
    status: Status,
    text: String,
}

impl Failure {
    /// What the host gets.
    pub fn status(&self) -> Status {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Failure {}

/// `file.write_all(bytes).or_status(Status::Retry)?`
pub trait OrStatus<T> {
    /// The same, but an error has this status.
    fn or_status(self, status: Status) -> Result<T>;
}

impl<T, E: Into<Error>> OrStatus<T> for std::result::Result<T, E> {
    fn or_status(self, status: Status) -> Result<T> {
        self.map_err(|error| status.because(text_of(&error.into())))
    }
}

/// An error and what led to it.
pub(crate) fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// `Ok`, or an error that says what the host did not do.
pub(crate) fn check(number: i32, what: &str) -> Result {
    match Status::of(number) {
        Status::Ok => Ok(()),
        status => Err(status.because(format_args!("{what}: the host says {status}"))),
    }
}
